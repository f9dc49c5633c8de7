// `node serve.mjs PORT URL`: CopilotKit's own runtime on that port, in front of the AG-UI endpoint at that URL.

import { createServer } from 'node:http'

process.env.COPILOTKIT_TELEMETRY_DISABLED = 'true'

const { HttpAgent } = await import('@ag-ui/client')
const { CopilotRuntime } = await import('@copilotkit/runtime/v2')
const { createCopilotNodeListener } = await import('@copilotkit/runtime/v2/node')

const [port, url] = process.argv.slice(2)
const runtime = new CopilotRuntime({ agents: { words: new HttpAgent({ url }) } })
createServer(createCopilotNodeListener({ runtime, basePath: '/copilotkit' })).listen(Number(port), '127.0.0.1')
