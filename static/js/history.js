/** Fetches what was said before: a thread when it is opened, older pages, and everything anew when history is stale. */
export class History {
  #api
  #store
  #onRefused
  #busy = new Set()

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
    await this.#once(thread_id, async () => {
      const page = await this.#api.messages(thread_id)
      this.#store.dispatch({ type: "history", thread_id, page })
    }, error => this.#store.dispatch(error.status === 404 ? { type: "missing", thread_id } : { type: "unloaded", thread_id, error }))
  }

  async older() {
    const { open: thread_id, rooms } = this.#store.state
    const before = rooms.get(thread_id)?.before
    if (!before) return
    await this.#once(thread_id, async () => {
      const page = await this.#api.olderMessages(thread_id, before)
      this.#store.dispatch({ type: "older", thread_id, page })
    })
  }

  async moreThreads() {
    await this.#once("threads", async () => {
      const page = await this.#api.threads(this.#store.state.threadsNext)
      this.#store.dispatch({ type: "listed", page })
    })
  }

  /** Something was said in a thread that is not listed. */
  async newThreads() {
    await this.#once("threads", async () => {
      const { next, ...page } = await this.#api.threads()
      this.#store.dispatch({ type: "listed", page: { ...page, next: this.#store.state.threadsNext } })
    })
  }

  /** Fetch everything anew and give the cursor it goes with: that of the list, asked first and so the older. */
  async resync() {
    const { open, threads } = this.#store.state
    const list = await this.#api.threads()
    const messages = open && await this.#api.messages(open).catch(nullIfGone)
    if (this.#store.state.open !== open) return this.resync()
    const thread = messages ? { ...threads.get(open), unread: undefined } : null
    this.#store.dispatch({ type: "resynced", threads: list, thread, messages, lost: Boolean(open && !messages) })
    return list.cursor
  }

  async #once(what, fetchIt, onError = () => {}) {
    if (this.#busy.has(what)) return
    this.#busy.add(what)
    try {
      await fetchIt()
    } catch (error) {
      if (error.status === 401) this.#onRefused()
      onError(error)
    } finally {
      this.#busy.delete(what)
    }
  }
}

function nullIfGone(error) {
  if (error.status === 404) return null
  throw error
}
