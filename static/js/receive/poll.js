/**
 * In the place of an EventSource where no stream comes through: asks again and again what has come, each time with a
 * request that waits for it. Heard like a stream: the same frames, a `ready` at first, a `ping` where nothing came.
 */
const WAIT = 25 // seconds

export class Poll extends EventTarget {
  #ask
  #end = new AbortController()

  /** `ask({last_event_id, wait, signal})` resolves to `{events: [{event, id, data}], cursor}`. */
  constructor(cursor, ask) {
    super()
    this.#ask = ask
    this.#run(cursor).catch(() => this.#end.signal.aborted || this.dispatchEvent(new Event("error")))
  }

  close() {
    this.#end.abort()
  }

  /** At first without waiting, to know whether this gets through. */
  async #run(cursor) {
    cursor = await this.#once(cursor, 0, () => this.#say("ready", cursor, { head: cursor, ping: WAIT }))
    while (!this.#end.signal.aborted) cursor = await this.#once(cursor, WAIT)
  }

  async #once(last_event_id, wait, greet) {
    const { events, cursor } = await this.#ask({ last_event_id, wait, signal: this.#end.signal })
    greet?.()
    for (const { event, id, data } of events) if (event !== "ready") this.#say(event, id ?? cursor, data)
    if (!events.length) this.#say("ping", cursor, { head: cursor })
    return cursor
  }

  #say(name, lastEventId, data) {
    if (this.#end.signal.aborted) return // as an EventSource does
    this.dispatchEvent(new MessageEvent(name, { lastEventId, data: JSON.stringify(data) }))
  }
}
