import { CopilotChat, CopilotKitProvider } from '@copilotkit/react-core/v2'
import { useMemo, useState } from 'react'

import { Answers } from './Answers'
import { GATEWAY, useApiKey } from './gateway'
import { Plan } from './Plan'
import { type Failure, Problem } from './Problem'
import { useThreadId } from './thread'
import { Threads } from './Threads'

export function App() {
  const threadId = useThreadId()
  const [apiKey, setApiKey] = useApiKey()
  // A provider for each conversation. CopilotKit has one object for an agent, which would take what the last conversation
  // waits for along into a new one.
  return <Conversation key={`${threadId} ${apiKey}`} {...{ threadId, apiKey, setApiKey }} />
}

type Props = { threadId: string; apiKey: string; setApiKey: (key: string) => void }

function Conversation({ threadId, apiKey, setApiKey }: Props) {
  const [failure, setFailure] = useState<Failure>()
  const headers = useMemo<Record<string, string>>(() => (apiKey ? { authorization: `Bearer ${apiKey}` } : {}), [apiKey])
  return (
    <CopilotKitProvider
      runtimeUrl={`${GATEWAY}/copilotkit`}
      agentId="planner"
      headers={headers}
      onError={(event) => {
        console.error(event.code, event.error, event.context)
        setFailure((first) => first ?? event) // the others follow from it
      }}
    >
      <Threads current={threadId} />
      <main>
        {failure && <Problem failure={failure} onKey={setApiKey} onClose={() => setFailure(undefined)} />}
        <Plan />
      </main>
      <Answers />
      <CopilotChat threadId={threadId} className="chat" />
    </CopilotKitProvider>
  )
}
