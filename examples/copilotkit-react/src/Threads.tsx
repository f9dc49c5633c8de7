import { useAgent, UseAgentUpdate, useThreads } from '@copilotkit/react-core/v2'
import { useEffect } from 'react'

import { linkTo, startThread } from './thread'

/** The conversations that the gateway keeps for this user. */
export function Threads({ current }: { current: string }) {
  const { threads, refetchThreads } = useThreads({ agentId: 'planner' })
  const { agent } = useAgent({ updates: [UseAgentUpdate.OnRunStatusChanged] })
  useEffect(refetchThreads, [agent.isRunning, refetchThreads])
  return (
    <nav aria-label="Conversations">
      <button onClick={startThread}>New conversation</button>
      {threads.map(({ id, name }) => (
        <a key={id} href={linkTo(id)} aria-current={id === current && 'page'}>
          {name ?? 'Untitled'}
        </a>
      ))}
    </nav>
  )
}
