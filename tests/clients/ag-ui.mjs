// Drives one version of @ag-ui/client: `node ag-ui.mjs <package>`. See rpc.mjs for how it is called.

import { described, recorder, serve } from './rpc.mjs'

const { HttpAgent } = await import(process.argv[2])
const agents = new Map()

serve({
  /** A client of one agent, on one thread. */
  open({ key, url, threadId, headers, state, messages }) {
    const { fetch, exchanges } = recorder()
    const agent = new HttpAgent({ url, threadId, headers, fetch, initialState: state, initialMessages: messages })
    agents.set(key, { agent, exchanges })
  },

  /** What the client has. */
  held({ key }) {
    const { agent } = agents.get(key)
    return { messages: agent.messages, state: agent.state, interrupts: agent.pendingInterrupts }
  },

  /** Reads a run that another client has started, as if it were one of its own. */
  async follow({ key, url }) {
    const { agent } = agents.get(key)
    const headers = agent.headers
    const own = agent.fetch
    const past = { url: agent.url, fetch: agent.fetch }
    Object.assign(agent, { url, fetch: (there, { signal }) => own(there, { headers, signal }) })
    try {
      await agent.runAgent({})
    } finally {
      Object.assign(agent, past)
    }
    return { messages: agent.messages, state: agent.state, interrupts: agent.pendingInterrupts }
  },

  /** Starts a run, and stops it as a user would as soon as `seen` has arrived. */
  async abort({ key, add, seen }) {
    const { agent, exchanges } = agents.get(key)
    agent.addMessages(add)
    const events = []
    let error = null
    try {
      await agent.runAgent(
        {},
        {
          onEvent({ event }) {
            events.push(event)
            if (JSON.stringify(event).includes(seen)) agent.abortRun()
          },
        },
      )
    } catch (thrown) {
      error = described(thrown)
    }
    return { events, error, exchanges: await exchanges() }
  },

  /** Appends `add` to the messages (in place of all of them with `replace`) and runs the agent. */
  async run({ key, add, replace, parameters }) {
    const { agent, exchanges } = agents.get(key)
    if (replace) agent.setMessages(replace)
    agent.addMessages(add)
    const events = []
    let newMessages = []
    let error = null
    try {
      const result = await agent.runAgent(parameters, {
        onEvent({ event }) {
          events.push(event)
        },
      })
      newMessages = result.newMessages
    } catch (thrown) {
      error = described(thrown)
    }
    return {
      events,
      newMessages,
      error,
      messages: agent.messages,
      state: agent.state,
      interrupts: agent.pendingInterrupts,
      exchanges: await exchanges(),
    }
  },
})
