/** Tells the server what has been read: at most once a second, and each place once. */
const PAUSE_MS = 1_000

export class Reader {
  #api
  #told = new Map()
  #timer = null
  #next = new Map() // by thread: one may go on to another within the pause

  constructor(api) {
    this.#api = api
  }

  /** The person has seen `thread_id` up to `seq`. */
  saw(thread_id, seq) {
    if (seq <= (this.#told.get(thread_id) ?? 0)) return
    this.#told.set(thread_id, seq)
    this.#next.set(thread_id, seq)
    if (!this.#timer) this.#tell()
  }

  /** A failure needs no mending: the mark moves with the next message, or the next visit. */
  #tell() {
    for (const [thread_id, seq] of this.#next) this.#api.read(thread_id, seq).catch(() => this.#told.delete(thread_id))
    this.#next.clear()
    this.#timer = setTimeout(() => {
      this.#timer = null
      if (this.#next.size) this.#tell()
    }, PAUSE_MS)
  }
}
