/**
 * Keeps one stream open for as long as the page lives: it holds the cursor, comes back by itself with growing, random
 * pauses, asks for a new state when history is stale, and always knows how to say how it is doing (DESIGN 7).
 */
import { delayAfter } from "./backoff.js"
import { epochOf, seqOf } from "./cursor.js"
import { Stream } from "./stream.js"

const PROVEN_MS = 10_000
const OFFLINE_RETRY_MS = 30_000
const ATTEMPTS_KEPT = 8

export class Connection {
  #cursor
  #open
  #probe
  #resync
  #onEvent
  #onStatus
  #stream = null
  #ready = false
  #timer = null
  #proof = null
  #failures = 0
  #behind = null
  #attempts = []
  #status = { state: "connecting" }

  /**
   * `open(cursor)` makes an EventSource; `probe()` asks for the session and resolves to `{signedIn, answer}`;
   * `resync()` fetches a new state and resolves to its cursor; `onEvent` and `onStatus` are told what happens.
   */
  constructor({ cursor, open, probe, resync, onEvent, onStatus }) {
    this.#cursor = cursor
    this.#open = open
    this.#probe = probe
    this.#resync = resync
    this.#onEvent = onEvent
    this.#onStatus = onStatus
  }

  get status() {
    return this.#status
  }

  /** Open a new stream from the cursor, now. */
  connect() {
    this.#hangUp()
    this.#say("connecting")
    this.#stream = new Stream(this.#open(this.#cursor), {
      onFrame: frame => this.#hear(frame),
      onLost: reason => this.#lost(reason),
    })
  }

  /** Something changed for the better, or the page is looked at again: do not sit out the pause. */
  wake() {
    if (this.#status.state === "signed_out") return this.ask()
    if (this.#status.state === "resyncing") return
    if (!this.#stream || this.#stream.silent) this.connect()
  }

  /** The page is not looked at: leave the browser's few connections to those that are. */
  rest() {
    if (this.#status.state === "signed_out") return
    this.#hangUp()
    this.#say("resting")
  }

  offline() {
    if (this.#status.state === "signed_out") return
    this.#hangUp()
    this.#later("offline", OFFLINE_RETRY_MS)
  }

  /** Learn from the session whether to go on; a stream that fails cannot say why. */
  async ask() {
    const { signedIn, answer } = await this.#probe()
    this.#note({ probe: answer })
    if (signedIn && this.#status.state === "signed_out") this.resume()
    if (signedIn === false) this.#signOut()
  }

  resume() {
    this.#failures = 0
    this.connect()
  }

  #hear({ name, id, data }) {
    if (name === "reset") return this.#stale()
    if (name === "bye") return this.#leave(data)
    if (id && epochOf(id) !== epochOf(this.#cursor)) return this.#stale()
    if (name === "ready") return this.#begin()
    if (name === "ping") this.#compare(data.head)
    else this.#onEvent({ name, seq: seqOf(id), data })
    this.#prove()
    // After the event was taken in, not before: if that fails, the next stream brings it again.
    if (id) this.#cursor = id
  }

  #begin() {
    this.#ready = true
    this.#say("connected")
    this.#proof = setTimeout(() => this.#prove(), PROVEN_MS)
  }

  /** Only now: a server that accepts and hangs up would otherwise be tried for ever at the first, short pause (P20). */
  #prove() {
    clearTimeout(this.#proof)
    if (this.#failures === 0) return
    this.#failures = 0
    this.#attempts = []
    this.#say("connected")
  }

  /** Behind the same head at two pings running: something was lost on the way, and a new stream brings it. */
  #compare(head) {
    const missed = this.#behind !== null && seqOf(this.#cursor) < this.#behind
    this.#behind = seqOf(head) > seqOf(this.#cursor) ? seqOf(head) : null
    if (missed) queueMicrotask(() => this.connect())
  }

  /** The old cursor stays until the new state is here: a page that dies in between still knows what it has. */
  async #stale() {
    this.#hangUp()
    this.#failures += 1
    this.#say("resyncing")
    try {
      this.#cursor = await this.#resync()
      if (this.#failures > 1) this.#later("waiting", delayAfter(this.#failures))
      else this.connect()
    } catch (error) {
      this.#lost(`History could not be fetched: ${error.message}`)
    }
  }

  #leave({ reason, retry_ms }) {
    this.#hangUp()
    this.#later("waiting", retry_ms, reason)
    if (reason === "auth") this.ask()
  }

  #lost(reason) {
    const wasReady = this.#ready
    this.#hangUp()
    if (navigator.onLine === false) return this.offline()
    this.#failures += 1
    this.#attempts = [...this.#attempts, { at: new Date(), reason }].slice(-ATTEMPTS_KEPT)
    this.#later("waiting", delayAfter(this.#failures))
    if (!wasReady) this.ask()
  }

  #signOut() {
    this.#hangUp()
    this.#say("signed_out")
  }

  #hangUp() {
    clearTimeout(this.#timer)
    clearTimeout(this.#proof)
    this.#stream?.close()
    this.#stream = null
    this.#ready = false
    this.#behind = null
  }

  #later(state, delay, reason) {
    this.#timer = setTimeout(() => this.connect(), delay)
    this.#say(state, { retryAt: Date.now() + delay, reason })
  }

  #say(state, more = {}) {
    this.#status = { state, probe: this.#status.probe, failures: this.#failures, attempts: this.#attempts, ...more }
    this.#onStatus(this.#status)
  }

  #note(more) {
    this.#status = { ...this.#status, ...more }
    this.#onStatus(this.#status)
  }
}
