// What the chat shows besides text. All of it is there again when the conversation is loaded.

import { useConfigureSuggestions, useHumanInTheLoop, useInterrupt, useRenderTool } from '@copilotkit/react-core/v2'
import { z } from 'zod'

import { Approval } from './Approval'

const written = z.object({ goal: z.string(), steps: z.array(z.string()) })

export function Answers() {
  useConfigureSuggestions({
    available: 'before-first-message',
    suggestions: [
      { title: 'Make a plan', message: 'Make a plan for a picnic' },
      { title: 'What is left?', message: 'What is left?' },
    ],
  })

  // A tool of the agent. Its arguments come in while the model writes them.
  useRenderTool({
    name: 'write_plan',
    parameters: written,
    render: ({ status, parameters: { goal, steps = [] } }) => (
      <div className="card">
        <strong>{status === 'complete' ? `A plan for ${goal}` : 'Writing a plan …'}</strong>
        <ol>{steps.map((step, index) => <li key={index}>{step}</li>)}</ol>
      </div>
    ),
  })

  // All other tools.
  useRenderTool({
    name: '*',
    render: ({ name, result = '…' }) => (
      <p className="card">
        <code>{name}</code> {result}
      </p>
    ),
  })

  // A question of the model to the user: a tool that the user answers.
  useHumanInTheLoop({
    name: 'confirm_plan',
    description: 'Show the plan to the user and ask whether it is right.',
    parameters: written,
    render: ({ args, respond, result }) => (
      <div className="card" role="group" aria-label="Confirm the plan">
        <strong>Is this the plan for {args.goal}?</strong>
        {respond ? (
          <p>
            <button onClick={() => respond('Yes')}>Yes</button>
            <button onClick={() => respond('No')}>No</button>
          </p>
        ) : (
          <p>{result}</p>
        )}
      </div>
    ),
  })

  // Consent to a tool of the agent that may not run without: the gateway holds the call until it is answered.
  useInterrupt({
    render: ({ interrupts, resolve }) => <Approval interrupts={interrupts} resolve={resolve} />,
  })

  return null
}
