// Drives one version of the AI SDK's chat: `node ai.mjs <package>`. See rpc.mjs for how it is called.

import { setImmediate, setTimeout } from 'node:timers/promises'

import { described, recorder, serve } from './rpc.mjs'

const ai = await import(process.argv[2])
const chats = new Map()

/** What `useChat` keeps in React state. */
class PlainState {
  status = 'ready'
  error = undefined

  constructor(messages) {
    this.messages = messages
  }

  pushMessage(message) {
    this.messages = [...this.messages, message]
  }

  popMessage() {
    this.messages = this.messages.slice(0, -1)
  }

  replaceMessage(index, message) {
    this.messages = this.messages.map((other, at) => (at === index ? this.snapshot(message) : other))
  }

  snapshot(thing) {
    return structuredClone(thing)
  }
}

class PlainChat extends ai.AbstractChat {}

/** As the SDK's own documentation sets it up; version 5 has no approvals. */
const sendAutomaticallyWhen = (state) =>
  ai.lastAssistantMessageIsCompleteWithApprovalResponses?.(state) || ai.lastAssistantMessageIsCompleteWithToolCalls(state)

const until = async (condition) => {
  while (!condition()) await setTimeout(5)
}

serve({
  /**
   * A chat with one agent. `lastOnly`: send `{id, message}`, the documented persistence pattern. `text`: the answer is
   * nothing but text.
   */
  open({ key, url, threadId, headers, body, messages, lastOnly, text }) {
    const { fetch, exchanges } = recorder()
    const prepareSendMessagesRequest = lastOnly
      ? ({ id, messages, body }) => ({ body: { ...body, id, message: messages.at(-1) } })
      : undefined
    const Transport = text ? ai.TextStreamChatTransport : ai.DefaultChatTransport
    const data = []
    const finishes = []
    const chat = new PlainChat({
      id: threadId,
      state: new PlainState(messages),
      transport: new Transport({ api: url, headers, body, fetch, prepareSendMessagesRequest }),
      sendAutomaticallyWhen,
      onData: (part) => data.push(part),
      onFinish: ({ isAbort, isDisconnect, isError, finishReason }) =>
        finishes.push({ isAbort, isDisconnect, isError, finishReason }),
    })
    chats.set(key, { chat, data, finishes, exchanges })
  },

  /** What the client has. */
  held({ key }) {
    const { chat } = chats.get(key)
    return { messages: chat.messages, status: chat.status }
  },

  /** What `useCompletion` does, and all that it had on the screen one after the other. */
  async complete({ url, prompt, streamProtocol, body, headers }) {
    const { fetch, exchanges } = recorder()
    const page = { texts: [], error: null, finished: null }
    await ai.callCompletionApi({
      api: url,
      prompt,
      streamProtocol,
      body,
      headers,
      fetch,
      setCompletion: (text) => page.texts.push(text),
      setLoading() {},
      setError: (error) => (page.error = described(error)),
      setAbortController() {},
      onFinish: (_, text) => (page.finished = text),
    })
    return { ...page, exchanges: await exchanges() }
  },

  /** Sends `text`, and answers when `seen` is on the screen; the request goes on. */
  async begin({ key, text, seen }) {
    const { chat } = chats.get(key)
    chat.sendMessage({ text }).catch(() => {})
    await until(() => JSON.stringify(chat.messages).includes(seen) || chat.status === 'error')
    return { status: chat.status, messages: chat.messages }
  },

  /** Resumes, and answers when the stream has begun; the request goes on. */
  async resume({ key }) {
    const { chat } = chats.get(key)
    chat.resumeStream().catch(() => {})
    await until(() => chat.status === 'streaming')
    return {}
  },

  /** How things stand when nothing is under way any more. */
  async rest({ key }) {
    const { chat, finishes, exchanges } = chats.get(key)
    do {
      await until(() => chat.status === 'ready' || chat.status === 'error')
      await setImmediate()
    } while (chat.status === 'submitted' || chat.status === 'streaming')
    return {
      messages: chat.messages,
      status: chat.status,
      error: described(chat.error),
      finishes: finishes.splice(0),
      exchanges: await exchanges(),
    }
  },

  /** Calls a method of the chat and tells how things stand when it, and all that it set off, has come to rest. */
  async call({ key, method, argument, replace }) {
    const { chat, data, finishes, exchanges } = chats.get(key)
    if (replace) chat.messages = replace
    await chat[method](argument ?? undefined)
    // A request that goes out by itself is decided on and started without any I/O, so within one turn of the loop.
    do await setImmediate()
    while (chat.status === 'submitted' || chat.status === 'streaming')
    return {
      messages: chat.messages,
      status: chat.status,
      error: described(chat.error),
      data: data.splice(0),
      finishes: finishes.splice(0),
      exchanges: await exchanges(),
    }
  },
})
