import type { InterruptRenderProps } from '@copilotkit/react-core/v2'
import { useState } from 'react'

/** Several calls may wait together: the run goes on when all of them are answered. */
export function Approval({ interrupts, resolve }: Pick<InterruptRenderProps, 'interrupts' | 'resolve'>) {
  const [answered, setAnswered] = useState<string[]>([])
  const answer = (id: string, approved: boolean) => {
    setAnswered([...answered, id])
    void resolve({ approved }, id)
  }
  return interrupts.map(({ id, message }) => (
    <div key={id} className="card" role="group" aria-label="Approval">
      <strong>{message}</strong>
      {!answered.includes(id) && (
        <p>
          <button onClick={() => answer(id, true)}>Approve</button>
          <button onClick={() => answer(id, false)}>Deny</button>
        </p>
      )}
    </div>
  ))
}
