/**
 * Keeps what was said and not yet seen to be held by the server, through reloads; for this tab and user only. A tab that
 * is duplicated takes a copy along: each message has its `client_id`, so that sending it from both says it once.
 */
const LEFT = "The page was left before the server had answered. Trying again never says it twice."

export class Unsent {
  #key
  #kept = null

  constructor(user) {
    this.#key = `backchannel:unsent:${user.id}`
  }

  /** What was kept, to be tried again or taken back; never sent without being asked. */
  get all() {
    const kept = JSON.parse(sessionStorage.getItem(this.#key) ?? "[]")
    return kept.map(message => ({ ...message, status: "failed", error: message.error ?? { message: LEFT } }))
  }

  /** `sending` is a Map by client_id; nothing is written while it is the same. */
  keep(sending) {
    if (sending === this.#kept) return
    this.#kept = sending
    const messages = [...sending.values()].map(plain)
    try {
      if (messages.length) sessionStorage.setItem(this.#key, JSON.stringify(messages))
      else sessionStorage.removeItem(this.#key)
    } catch (error) {
      console.warn("Not kept for a reload:", error) // no room: the page itself still has it
    }
  }
}

/** An error's message is its own property that JSON passes over. */
function plain({ error, ...message }) {
  return { ...message, error: error && { status: error.status, message: error.message } }
}
