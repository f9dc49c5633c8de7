import { useAgent, UseAgentUpdate, useFrontendTool } from '@copilotkit/react-core/v2'
import { useState } from 'react'
import { z } from 'zod'

const plan = z.object({
  goal: z.string(),
  steps: z.array(z.object({ text: z.string(), status: z.enum(['todo', 'doing', 'done']) })),
})

const filter = z.enum(['all', 'open', 'done'])

/** The state that the page and the agent share. */
export function Plan() {
  const { agent } = useAgent({ updates: [UseAgentUpdate.OnStateChanged] })
  const [which, show] = useState<z.infer<typeof filter>>('all')

  // The agent does something on the page.
  useFrontendTool({
    name: 'show_steps',
    description: 'Choose which steps of the plan the page shows.',
    parameters: z.object({ which: filter }),
    handler: async ({ which }) => {
      show(which)
      return `The page shows: ${which}.`
    },
  })

  // What another client has put there may have any shape.
  const { goal, steps } = plan.safeParse(agent.state).data ?? { goal: '', steps: [] }

  /** The agent gets the state as it is here with the next message. */
  const check = (index: number, isDone: boolean) => {
    const status = isDone ? 'done' : 'todo'
    agent.setState({ goal, steps: steps.map((step, at) => (at === index ? { ...step, status } : step)) })
  }

  return (
    <section aria-label="Plan">
      <h1>{goal || 'No plan yet'}</h1>
      <p role="group" aria-label="Steps to show">
        {filter.options.map((option) => (
          <button key={option} aria-pressed={option === which} onClick={() => show(option)}>
            {option}
          </button>
        ))}
      </p>
      <ol>
        {steps.map(({ text, status }, index) => (
          <li key={index} hidden={which !== 'all' && (which === 'done') !== (status === 'done')} data-status={status}>
            <label>
              <input type="checkbox" checked={status === 'done'} onChange={(event) => check(index, event.target.checked)} />
              {text}
            </label>
          </li>
        ))}
      </ol>
    </section>
  )
}
