// Which conversation is open: it is in the URL, so that a reload, a bookmark or another tab shows it again.

import { useSyncExternalStore } from 'react'

export const linkTo = (threadId: string) => `#${encodeURIComponent(threadId)}`

const inUrl = () => decodeURIComponent(location.hash.slice(1))

const newOne = () => crypto.randomUUID()

/** Opens a conversation that nobody has begun yet. */
export const startThread = () => location.assign(linkTo(newOne()))

export function useThreadId() {
  return useSyncExternalStore(watch, inUrl)
}

function watch(changed: () => void) {
  window.addEventListener('hashchange', changed)
  return () => window.removeEventListener('hashchange', changed)
}

if (!inUrl()) location.replace(linkTo(newOne()))
