// For a front end of the AI SDK 6 or 7: copy this file. What the gateway says about an answer, and a stop that stops.

import type { UIMessage } from 'ai'

/** `message.metadata` of an answer that has finished or was stopped; one that failed has none. */
export type GatewayMetadata = {
  gateway?: {
    /** Of the last run that went on with this message: for `/runs/{runId}`, and for the log. */
    runId: string
    threadId?: string
    agent?: string
    model?: string
    /** `cost` is in US dollars, and left out where it is not known. */
    usage: {
      requests: number
      inputTokens: number
      outputTokens: number
      totalTokens: number
      toolCalls?: number
      cost?: number
    }
    /** `startedAt` is ISO 8601 in UTC; the rest is in milliseconds from there, without the way to the browser. */
    timing: { startedAt: string; firstTokenMs?: number; totalMs: number }
  }
}

export type GatewayUIMessage = UIMessage<GatewayMetadata>

/** `stop()` of `useChat` only stops reading. This one stops the run, whose stream then says so and ends. */
export function useStop(chat: { id: string; stop: () => Promise<void> }, api: string, headers?: HeadersInit) {
  return async () => {
    const path = `${api}/${encodeURIComponent(chat.id)}/stop`
    const answer = await fetch(path, { method: 'POST', headers }).catch(() => undefined)
    const { stopped } = answer?.ok ? await answer.json() : { stopped: false }
    if (!stopped) await chat.stop()
  }
}
