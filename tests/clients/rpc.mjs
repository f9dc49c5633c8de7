// JSON lines on stdin -> calls of `handlers`, whose answers go to stdout as JSON lines. Calls run side by side.

import { createInterface } from 'node:readline'

/** What the clients printed since the last answer: a client that warns has found something wrong with the wire. */
const printed = []
for (const level of ['warn', 'error', 'log', 'info', 'debug']) {
  console[level] = (...words) => printed.push(`${level}: ${words.map(String).join(' ')}`)
}

export function serve(handlers) {
  createInterface({ input: process.stdin }).on('line', async (line) => {
    const { id, method, params } = JSON.parse(line)
    let answer
    try {
      answer = { id, result: await handlers[method](params) }
    } catch (error) {
      answer = { id, error: String(error?.stack ?? error) }
    }
    process.stdout.write(`${JSON.stringify({ ...answer, printed: printed.splice(0) })}\n`)
  })
}

const MOST_REQUESTS = 5

/** A `fetch` that notes each exchange, with the response's text as it came over the wire. */
export function recorder() {
  const taken = []
  const record = async (url, init) => {
    // A chat that sends by itself can do so for ever.
    if (taken.length === MOST_REQUESTS) throw new Error(`more than ${MOST_REQUESTS} requests at one go`)
    const response = await fetch(url, init)
    const copy = response.clone()
    const exchange = {
      request: init?.body ? JSON.parse(init.body) : null,
      method: init?.method ?? 'GET',
      status: response.status,
      headers: Object.fromEntries(response.headers),
      text: copy.text().catch((error) => `<broken off: ${error}>`),
    }
    taken.push(exchange)
    return response
  }
  const exchanges = () =>
    Promise.all(taken.splice(0).map(async (exchange) => ({ ...exchange, text: await exchange.text })))
  return { fetch: record, exchanges }
}

export function described(error) {
  if (!error) return null
  const { name, message, status, statusCode, payload } = error
  return { name, message, status: status ?? statusCode ?? null, payload: payload ?? null }
}
