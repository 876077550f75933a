/** What the person has sent and the server has not yet been seen to hold, by `client_id`. */

export function begin(sending, message) {
  return new Map(sending).set(message.client_id, { ...message, status: "sending", error: null })
}

/** What an earlier load of this page had not sent, but for what the server is seen to hold by now. */
export function restore(sending, kept, messages) {
  return settle(new Map([...kept.map(message => [message.client_id, message]), ...sending]), messages)
}

/** The thread that the first messages were waiting for exists now. */
export function place(sending, thread_id) {
  const placed = ([client_id, message]) => [client_id, { ...message, thread_id: message.thread_id ?? thread_id }]
  return new Map([...sending].map(placed))
}

export function retry(sending, client_id) {
  return change(sending, client_id, { status: "sending", error: null })
}

export function fail(sending, client_id, error) {
  return change(sending, client_id, { status: "failed", error })
}

/** The server holds these messages: by event, by page or by answer, whichever came first. */
export function settle(sending, messages) {
  const known = messages.filter(message => sending.has(message.client_id))
  if (!known.length) return sending
  const rest = new Map(sending)
  for (const { client_id } of known) rest.delete(client_id)
  return rest
}

export function leave(sending, thread_id) {
  return new Map([...sending].filter(([, message]) => message.thread_id !== thread_id))
}

/** Change a message that is still being sent; one that arrived by the stream in the meantime is left alone. */
function change(sending, client_id, changes) {
  const message = sending.get(client_id)
  return message ? new Map(sending).set(client_id, { ...message, ...changes }) : sending
}
