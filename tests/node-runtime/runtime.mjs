// CopilotKit's runtime as its documentation sets it up: `node runtime.mjs`. See ../clients/rpc.mjs for how it is called.

import { createServer } from 'node:http'
import { serve } from '../clients/rpc.mjs'

// Read while the runtime is loaded.
process.env.COPILOTKIT_TELEMETRY_DISABLED = 'true'

const { HttpAgent } = await import('@ag-ui/client')
const { CopilotRuntime } = await import('@copilotkit/runtime/v2')
const { createCopilotNodeListener } = await import('@copilotkit/runtime/v2/node')

serve({
  /** Serves agents, `{name: URL}`, at /copilotkit, and at /one through a single URL. */
  async listen({ agents, headers }) {
    const behind = Object.entries(agents).map(([name, url]) => [name, new HttpAgent({ url, headers })])
    const runtime = new CopilotRuntime({ agents: Object.fromEntries(behind), openGenerativeUI: true })
    const many = createCopilotNodeListener({ runtime, basePath: '/copilotkit' })
    const one = createCopilotNodeListener({ runtime, basePath: '/one', mode: 'single-route' })
    const server = createServer((request, response) => (request.url.startsWith('/one') ? one : many)(request, response))
    await new Promise((ready) => server.listen(0, '127.0.0.1', ready))
    return { port: server.address().port }
  },
})

process.stdin.on('end', () => process.exit())
