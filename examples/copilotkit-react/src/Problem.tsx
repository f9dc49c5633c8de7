import type { CopilotKitProviderProps } from '@copilotkit/react-core/v2'

import { GATEWAY } from './gateway'

export type Failure = Parameters<NonNullable<CopilotKitProviderProps['onError']>>[0]

type Props = { failure: Failure; onKey: (key: string) => void; onClose: () => void }

/** What CopilotKit could not do, and what may be done about it. */
export function Problem({ failure: { error }, onKey, onClose }: Props) {
  return (
    <aside role="alert">
      <p>{sentence(error)}</p>
      {statusOf(error) === 401 ? (
        <form action={(form) => onKey(String(form.get('key')))}>
          <input name="key" type="password" aria-label="API key" autoComplete="off" required />
          <button>Sign in</button>
        </form>
      ) : (
        <button onClick={onClose}>Close</button>
      )}
    </aside>
  )
}

function sentence(error: Error) {
  if (statusOf(error) === 401) return 'The gateway asks for an API key.'
  if (error instanceof TypeError) {
    // A browser does not tell a page why it may not read an answer.
    return `No answer from ${GATEWAY}: is the gateway running, and is ${location.origin} in its cors.allow_origins?`
  }
  // Of a turn that was refused, the gateway's own words; of a run that failed, they are the message.
  return (error as { payload?: { detail?: string } }).payload?.detail ?? error.message
}

/** The HTTP status of what CopilotKit asked for: `/info`, or anything else. */
function statusOf(error: Error) {
  const { runtimeInfoStatus, status } = error as { runtimeInfoStatus?: number; status?: number }
  return runtimeInfoStatus ?? status
}
