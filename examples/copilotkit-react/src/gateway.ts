// Where the gateway is, and the key that it may ask for.

import { useState } from 'react'

export const GATEWAY = import.meta.env.VITE_GATEWAY_URL ?? 'http://127.0.0.1:8000'

/** The user's own key, for as long as the tab is open: one that is built into a page is everybody's. */
export function useApiKey() {
  const [apiKey, setApiKey] = useState(sessionStorage.getItem('apiKey') ?? '')
  const keep = (key: string) => {
    sessionStorage.setItem('apiKey', key)
    setApiKey(key)
  }
  return [apiKey, keep] as const
}
