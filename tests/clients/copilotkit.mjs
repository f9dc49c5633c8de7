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

const listed = async (threads) => {
  const state = () => threads.getState()
  await until(() => !state().isLoading && !state().isFetchingNextPage, 'the list is there')
  return { threads: state().threads, error: described(state().error), isMore: state().nextCursor != null }
}

serve({
  /** An app with its runtime, as `<CopilotKit runtimeUrl=...>` makes one; waits until it is connected or has failed. */
  async open({ key, url, transport, headers, properties, context = [], tools = [] }) {
    const errors = []
    const calls = []
    const core = new CopilotKitCore({ headers, properties, deferInitialConnection: false })
    for (const item of context) core.addContext(item)
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
  async suggest({ key, agentId, instructions, providerAgentId }) {
    const { core } = apps.get(key)
    core.addSuggestionsConfig({ instructions, available: 'always', providerAgentId })
    core.reloadSuggestions(agentId)
    const found = () => core.getSuggestions(agentId)
    await until(() => found().suggestions.length && !found().isLoading, 'there are suggestions')
    return { suggestions: found().suggestions.map(({ title, message }) => ({ title, message })) }
  },

  /** The chat is unmounted: it listens no more, though the connection stays. `vanish` ends that, too. */
  async leave({ key, agentId }) {
    const { core } = apps.get(key)
    await core.getAgent(agentId).detachActiveRun()
    return {}
  },

  /** Waits until the shared state has that member, with something in it. */
  async has_state({ key, agentId, member }) {
    const app = apps.get(key)
    const agent = app.core.getAgent(agentId)
    await until(() => agent.state?.[member], `state.${member}`)
    return held(app, agent)
  },

  /** Waits for the end of a run in the background. */
  async ran({ key, agentId }) {
    const app = apps.get(key)
    await app.running
    return held(app, app.core.getAgent(agentId))
  },

  /** Sends a recording as `CopilotChat` does, whose own function for it is not exported: a form, or base64 in JSON. */
  async voice({ key, audio, type }) {
    const { core } = apps.get(key)
    const { runtimeUrl, headers, runtimeTransport, audioFileTranscriptionEnabled: enabled } = core
    const blob = new Blob([audio], { type })
    const body = { audio: Buffer.from(audio).toString('base64'), mimeType: blob.type || 'audio/webm', filename: 'recording.webm' }
    const form = new FormData()
    form.append('audio', blob, body.filename)
    const response =
      runtimeTransport === 'single'
        ? await fetch(runtimeUrl, {
            method: 'POST',
            headers: { ...headers, 'Content-Type': 'application/json' },
            body: JSON.stringify({ method: 'transcribe', body }),
          })
        : await fetch(`${runtimeUrl}/transcribe`, { method: 'POST', headers, body: form })
    return { enabled, transport: runtimeTransport, status: response.status, answer: await response.json() }
  },

  /** Opens the list of threads, as `useThreads` does, and waits until it is there. */
  async list({ key, agentId, includeArchived, limit }) {
    const app = apps.get(key)
    const { core } = app
    if (core.threadEndpoints?.list === false) throw new Error('this runtime has no list of threads')
    const { ɵcreateThreadStore } = await import('@copilotkit/core')
    app.threads?.stop()
    app.threads = ɵcreateThreadStore({ fetch: core.ɵruntimeFetch })
    app.threads.start()
    app.threads.setContext({ runtimeUrl: core.runtimeUrl, headers: { ...core.headers }, agentId, includeArchived, limit })
    return listed(app.threads)
  },

  /** Shows one more page of it. */
  async more({ key }) {
    const { threads } = apps.get(key)
    threads.fetchNextPage()
    return listed(threads)
  },

  /** Does something to a thread of the list; what it shows meanwhile, and when the answer is there. */
  async change({ key, what, threadId, name }) {
    const { core, threads } = apps.get(key)
    if (core.threadEndpoints?.mutations === false) throw new Error('threads of this runtime cannot be changed')
    const changed = threads[`${what}Thread`](threadId, name).then(() => null, described)
    const meanwhile = threads.getState().threads
    const refused = await changed
    return { ...(await listed(threads)), meanwhile, refused }
  },

  /** Has the last answer given again, as `reloadMessages` does, and waits for its end. */
  async regenerate({ key, agentId }) {
    const app = apps.get(key)
    const agent = app.core.getAgent(agentId)
    const asked = agent.messages.findLastIndex(({ role }) => role === 'user')
    agent.setMessages(agent.messages.slice(0, asked + 1))
    await app.core.runAgent({ agent })
    return held(app, agent)
  },

  /** Asks what the page of an MCP App asks, as `bindMcpApp` of `@copilotkit/mcp-apps-renderer` does for it. */
  async relay({ key, agentId, threadId, request }) {
    const app = apps.get(key)
    const agent = app.core.getAgent(agentId)
    if (threadId) agent.threadId = threadId
    const { result, newMessages } = await agent.runAgent({ forwardedProps: { __proxiedMCPRequest: request } })
    return { ...held(app, agent), threadId: agent.threadId, result: result ?? null, newMessages }
  },

  /** Does something on a surface, as `runA2UIAction` of `@copilotkit/react-core` passes it on, and waits for the end. */
  async act({ key, agentId, userAction }) {
    const app = apps.get(key)
    const { core } = app
    const agent = core.getAgent(agentId)
    core.setProperties({ ...core.properties, a2uiAction: { userAction } })
    const { error } = (await core.runAgent({ agent }).catch((error) => ({ error: described(error) }))) ?? {}
    const { a2uiAction: _done, ...rest } = core.properties
    core.setProperties(rest)
    return { ...held(app, agent), calls: app.calls, error: error ?? null }
  },

  /** The browser is gone, with its connections: `leave` keeps them, and only stops listening. */
  vanish: () => process.exit(),
})
