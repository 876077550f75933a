import { behind } from "./interpret/rooms.js"

/** Fetches what was said before: a thread when it is opened, older pages, and everything anew when history is stale. */
export class History {
  #api
  #store
  #onRefused
  #busy = new Set()
  #missed = false

  /** `onRefused` is called when the session has ended. */
  constructor({ api, store, onRefused }) {
    this.#api = api
    this.#store = store
    this.#onRefused = onRefused
  }

  /** The newest page of the open thread, unless it is held: then events have kept it up to date. */
  async load() {
    const { open: thread_id, rooms } = this.#store.state
    if (!thread_id || rooms.get(thread_id).loaded) return
    await this.#once(
      thread_id,
      () => this.#api.messages(thread_id),
      page => ({ type: "history", thread_id, page }),
      error => error.status === 404 ? { type: "missing", thread_id } : { type: "unloaded", thread_id, error },
    )
  }

  async older() {
    const { open: thread_id, rooms } = this.#store.state
    const before = rooms.get(thread_id)?.before
    if (!before) return
    await this.#once(
      thread_id,
      () => this.#api.olderMessages(thread_id, before),
      page => ({ type: "older", thread_id, page }),
    )
  }

  async moreThreads() {
    await this.#once(
      "more threads",
      () => this.#api.threads(this.#store.state.threadsNext),
      page => ({ type: "listed", page }),
    )
  }

  /** Something was said in a thread that is not listed. A list already on its way may lack it, so ask again after that. */
  async newThreads() {
    this.#missed = this.#busy.has("new threads")
    if (this.#missed) return
    await this.#once(
      "new threads",
      () => this.#api.threads(),
      page => ({ type: "listed", page: { ...page, next: this.#store.state.threadsNext } }),
    )
    if (this.#missed) await this.newThreads()
  }

  /** The whole of each answer of which a piece was lost on its way here. */
  async gaps() {
    const { open, rooms } = this.#store.state
    for (const run_id of rooms.has(open) ? behind(rooms.get(open)) : []) {
      await this.#once(run_id, () => this.#api.partial(run_id), data => ({ type: "event", name: "partial", data }))
    }
  }

  /** Fetch everything anew and give the cursor it goes with: that of the list, asked first and so the older. */
  async resync() {
    const { open, threads } = this.#store.state
    const list = await this.#api.threads()
    const messages = open && await this.#api.messages(open).catch(nullIfGone)
    if (this.#store.state.open !== open) return this.resync()
    // What is held of the thread, in case it is too old for the list, but as of no time: numbers may have begun anew.
    const thread = messages ? { ...threads.get(open), rev: 0, unread: undefined } : null
    this.#busy = new Set()
    this.#store.dispatch({ type: "resynced", threads: list, thread, messages, lost: Boolean(open && !messages) })
    return list.cursor
  }

  /** Ask, unless the same is being asked, and dispatch what `taken` makes of the answer or `failed` of the error. */
  async #once(what, ask, taken, failed = () => null) {
    const busy = this.#busy
    if (busy.has(what)) return
    busy.add(what)
    const action = await ask().then(taken, error => {
      if (error.status === 401) this.#onRefused()
      return failed(error)
    })
    busy.delete(what)
    // Not if everything was fetched anew meanwhile: what lies between the old page and the new would stay hidden.
    if (action && busy === this.#busy) this.#store.dispatch(action)
  }
}

function nullIfGone(error) {
  if (error.status === 404) return null
  throw error
}
