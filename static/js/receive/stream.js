import { PIECES } from "../interpret/answers.js"

/** One open connection to the stream: it hears frames, notices silence, and hangs up for good. */
const FRAMES = ["ready", "message", "thread", "run", "read", "partial", ...PIECES, "ping", "reset", "bye"]
const OPENING_MS = 10_000
const PATIENCE = 2.5 // pings that may fail to come

export class Stream {
  #source
  #onFrame
  #onLost
  #watchdog
  #silence = OPENING_MS
  #heardAt = Date.now()

  /** `onLost(reason, {silent})` is called once: `silent` if nobody hung up, but nothing came either. */
  constructor(source, { onFrame, onLost }) {
    this.#source = source
    this.#onFrame = onFrame
    this.#onLost = onLost
    for (const name of FRAMES) source.addEventListener(name, event => this.#hear(name, event))
    // Never left to the browser's own retry: it has no jitter, and any HTTP error ends it without saying why.
    source.addEventListener("error", () => this.#lose("The connection was closed or refused."))
    this.#watch()
  }

  close() {
    clearTimeout(this.#watchdog)
    this.#source.close()
  }

  /** Timers stand still while a computer sleeps; the clock on the wall does not. */
  get silent() {
    return Date.now() - this.#heardAt > this.#silence
  }

  #hear(name, event) {
    const data = JSON.parse(event.data)
    if (name === "ready") this.#silence = PATIENCE * data.ping * 1000
    this.#heardAt = Date.now()
    this.#watch()
    this.#onFrame({ name, id: event.lastEventId, data })
  }

  #watch() {
    clearTimeout(this.#watchdog)
    const seconds = Math.round(this.#silence / 1000)
    this.#watchdog = setTimeout(() => this.#lose(`Nothing was heard for ${seconds} s.`, true), this.#silence)
  }

  #lose(reason, silent = false) {
    this.close()
    this.#onLost(reason, { silent })
  }
}
