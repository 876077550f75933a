/** Keeps what was typed and not sent, for each thread, through reloads and an ended session; for this tab and user only. */
export class Drafts {
  #user

  constructor(user) {
    this.#user = user
  }

  /** `thread_id` null is the conversation not yet begun. */
  of(thread_id) {
    return sessionStorage.getItem(this.#key(thread_id)) ?? ""
  }

  keep(thread_id, text) {
    if (text) sessionStorage.setItem(this.#key(thread_id), text)
    else sessionStorage.removeItem(this.#key(thread_id))
  }

  /** What was typed goes on elsewhere, unless something is typed there. */
  move(from, to) {
    if (!this.of(to)) this.keep(to, this.of(from))
    this.keep(from, "")
  }

  #key(thread_id) {
    return `backchannel:draft:${this.#user.id}:${thread_id ?? "new"}`
  }
}
