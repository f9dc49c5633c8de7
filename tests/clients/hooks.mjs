// Drives the React hooks of the AI SDK in a page without a browser: `node hooks.mjs`. See rpc.mjs for how it is called.

import { setImmediate, setTimeout } from 'node:timers/promises'

import { Window } from 'happy-dom'

// Before React is loaded, which looks for a page. Everything else, `fetch` above all, stays Node's.
globalThis.window = new Window({ url: 'http://localhost/' })
globalThis.document = window.document
globalThis.navigator ??= { userAgent: 'Node.js' }

const { createElement } = await import('react')
const { createRoot } = await import('react-dom/client')
const { experimental_useObject: useObject, useChat, useCompletion } = await import('@ai-sdk/react')
const ai = await import('ai')
const { z } = await import('zod')
const { described, recorder, serve } = await import('./rpc.mjs')

const CONTACT = z.object({ name: z.string(), email: z.string().nullish() })

/** Name -> (options, what the page is told) -> a hook as a component calls it. */
const hooks = {
  chat({ text, messages, transport, ...options }, { fetch, note }) {
    const Transport = text ? ai.TextStreamChatTransport : ai.DefaultChatTransport
    const sent = new Transport({ ...transport, fetch })
    const sendAutomaticallyWhen = ai.lastAssistantMessageIsCompleteWithApprovalResponses
    const told = { onData: note('data'), onFinish: ({ message, messages, ...how }) => note('finish')(how) }
    return () => useChat({ ...options, messages, transport: sent, sendAutomaticallyWhen, ...told })
  },

  completion(options, { fetch, note }) {
    return () => useCompletion({ ...options, fetch, onFinish: (prompt, text) => note('finish')({ prompt, text }) })
  },

  object(options, { fetch, note }) {
    const onFinish = ({ object, error }) => note('finish')({ object, error: described(error) })
    return () => useObject({ ...options, schema: CONTACT, fetch, onFinish })
  },

  /** A chat over the transport of a module. */
  async carried({ module }, { note }) {
    const { transport } = await import(module)
    return () => useChat({ transport, onFinish: ({ isError }) => note('finish')({ isError }) })
  },

  /** A hook of a module: of the documentation, say. */
  async other({ module, name, args }) {
    const { [name]: hook } = await import(module)
    return () => hook(...args)
  },
}

const pages = new Map()

/** What a component would show. */
function shown({ messages, status, completion, object, isLoading, error }) {
  return JSON.parse(JSON.stringify({ messages, status, completion, object, isLoading, error: described(error) }))
}

const isBusy = ({ status, isLoading }) => isLoading || status === 'submitted' || status === 'streaming'

const until = async (condition) => {
  while (!condition()) await setTimeout(5)
}

/** What goes out by itself, and what React makes of it, is begun without any I/O, so within some turns of the loop. */
async function settled() {
  for (let turn = 0; turn < 10; turn++) await setImmediate()
}

/** How things stand when nothing is under way any more, and what was on the screen before. */
async function rest({ page, updates, noted, exchanges }) {
  await settled()
  do {
    await until(() => !isBusy(page.hook))
    await settled()
  } while (isBusy(page.hook))
  return { ...shown(page.hook), updates: updates.splice(0), noted: noted.splice(0), exchanges: await exchanges() }
}

serve({
  /** A page with a component that calls a hook. */
  async open({ key, hook, options }) {
    const { fetch, exchanges } = recorder()
    const page = {}
    const updates = []
    const noted = []
    const use = await hooks[hook](options, { fetch, note: (kind) => (value) => noted.push(structuredClone({ kind, value })) })
    const Component = () => {
      page.hook = use()
      updates.push(shown(page.hook))
      return null
    }
    const root = createRoot(document.createElement('div'))
    root.render(createElement(Component))
    await until(() => page.hook)
    pages.set(key, { page, updates, noted, exchanges, root })
  },

  /** Calls one of the functions that the hook returned, and waits for nothing. */
  begin({ key, method, args }) {
    const { page } = pages.get(key)
    Promise.resolve(page.hook[method](...args)).catch(() => {})
  },

  /** The page as soon as `seen` is on it. */
  async until({ key, seen }) {
    const { page } = pages.get(key)
    await until(() => JSON.stringify(shown(page.hook)).includes(seen))
    return shown(page.hook)
  },

  rest: ({ key }) => rest(pages.get(key)),

  /** What a function of a module returns. */
  async value({ module, name, args }) {
    const { [name]: call } = await import(module)
    return { value: await call(...args) }
  },

  /** Calls one of the functions that the hook returned, and waits for all that it set off. */
  async call({ key, method, args }) {
    const opened = pages.get(key)
    await opened.page.hook[method](...args)
    return rest(opened)
  },

  close({ key }) {
    pages.get(key).root.unmount()
    pages.delete(key)
  },
})
