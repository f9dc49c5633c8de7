// Drives `@copilotkit/core` headless: `node copilotkit.mjs`. See rpc.mjs for how it is called.

import { described, serve } from './rpc.mjs'

// Without a window it takes itself for a server that renders the page, and connects to nothing.
globalThis.window = globalThis

const { CopilotKitCore } = await import('@copilotkit/core')
const { z } = await import('zod')
const apps = new Map()

const until = async (holds, what) => {
  for (let tries = 0; !(await holds()); tries++) {
    if (tries === 1000) throw new Error(`it did not happen: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

const held = ({ core, errors }, agent) => ({
  status: core.runtimeConnectionStatus,
  transport: core.runtimeTransport,
  agents: Object.keys(core.agents),
  errors,
  ...(agent && {
    messages: agent.messages,
    state: agent.state,
    interrupts: agent.pendingInterrupts ?? [],
    isRunning: agent.isRunning,
  }),
})

serve({
  /** An app with its runtime, as `<CopilotKit runtimeUrl=...>` makes one; waits until it is connected or has failed. */
  async open({ key, url, transport, headers, tools = [] }) {
    const errors = []
    const calls = []
    const core = new CopilotKitCore({ headers, deferInitialConnection: false })
    core.subscribe({
      onError: ({ error, code, context }) => void errors.push({ code, error: described(error), context }),
    })
    for (const { name, result, ...tool } of tools) {
      core.addTool({ name, ...tool, parameters: z.looseObject({}), handler: async (args) => (calls.push({ name, args }), result) })
    }
    core.setRuntimeTransport(transport ?? 'auto')
    core.setRuntimeUrl(url)
    const app = { core, errors, calls }
    apps.set(key, app)
    await until(() => ['connected', 'error'].includes(core.runtimeConnectionStatus), 'the runtime answers')
    return held(app)
  },

  /** What the app has of an agent's thread. */
  held({ key, agentId }) {
    const app = apps.get(key)
    return { ...held(app, app.core.getAgent(agentId)), calls: app.calls }
  },

  /** Sends a message and waits for the end of all that follows from it, tools of the front end included. */
  async run({ key, agentId, threadId, text, state, resume, background }) {
    const app = apps.get(key)
    const agent = app.core.getAgent(agentId)
    if (threadId) agent.threadId = threadId
    if (state) agent.setState(state)
    if (text) agent.addMessage({ id: crypto.randomUUID(), role: 'user', content: text })
    const running = app.core.runAgent({ agent, ...(resume && { resume }) }).catch((error) => ({ error: described(error) }))
    if (background) {
      app.running = running
      return {}
    }
    const { error } = (await running) ?? {}
    return { ...held(app, agent), calls: app.calls, error: error ?? null }
  },

  /** Waits until the app shows that text. */
  async shows({ key, agentId, text }) {
    const { core } = apps.get(key)
    await until(() => JSON.stringify(core.getAgent(agentId).messages).includes(text), text)
    return {}
  },

  /** Presses stop. */
  async stop({ key, agentId }) {
    const app = apps.get(key)
    const agent = app.core.getAgent(agentId)
    app.core.stopAgent({ agent })
    await until(() => !agent.isRunning, 'the run ends')
    await app.running
    return held(app, agent)
  },

  /** Opens a thread that is there already, as an explicit `threadId` does; waits for its end, or goes on meanwhile. */
  async connect({ key, agentId, threadId, background }) {
    const app = apps.get(key)
    const agent = app.core.getAgent(agentId)
    agent.threadId = threadId
    app.connecting = app.core.connectAgent({ agent })
    if (!background) await app.connecting
    return held(app, agent)
  },

  /** Waits for the end of what `connect` reads. */
  async connected({ key, agentId }) {
    const app = apps.get(key)
    await app.connecting
    return held(app, app.core.getAgent(agentId))
  },

  /** Asks for suggestions, as `useCopilotChatSuggestions` does, and waits for them. */
  async suggest({ key, agentId, instructions }) {
    const { core } = apps.get(key)
    core.addSuggestionsConfig({ instructions, available: 'always' })
    core.reloadSuggestions(agentId)
    const found = () => core.getSuggestions(agentId)
    await until(() => found().suggestions.length && !found().isLoading, 'there are suggestions')
    return { suggestions: found().suggestions.map(({ title, message }) => ({ title, message })) }
  },

  /** The page is closed: nobody reads any more. */
  async leave({ key, agentId }) {
    const { core } = apps.get(key)
    await core.getAgent(agentId).detachActiveRun()
    return {}
  },
})
