/** Which thread the address names, and the other way round: `/` is a new conversation, `/chat/<id>` a thread. */
export function threadInAddress() {
  return /^\/chat\/([^/]+)$/.exec(location.pathname)?.[1] ?? null
}

export function goTo(thread_id) {
  if (threadInAddress() !== thread_id) history.pushState(null, "", addressOf(thread_id))
}

/** The open thread changed by itself, so Back should not lead to where it was. */
export function keepAddress({ open }) {
  if (threadInAddress() !== open) history.replaceState(null, "", addressOf(open))
}

function addressOf(thread_id) {
  return thread_id ? `/chat/${thread_id}` : "/"
}
