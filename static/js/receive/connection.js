/**
 * Keeps one stream open for as long as the page lives: it holds the cursor, comes back by itself with growing, random
 * pauses, asks for a new state when history is stale, and always knows how to say how it is doing (DESIGN 7). Where
 * something holds streams back, it polls instead, and now and then tries whether a stream gets through again.
 */
import { delayAfter } from "./backoff.js"
import { epochOf, seqOf } from "./cursor.js"
import { Stream } from "./stream.js"

const PROVEN_MS = 10_000
const OFFLINE_RETRY_MS = 30_000
const ATTEMPTS_KEPT = 8
const SILENCES = 2 // streams in a row that nobody closed, and that brought nothing
const TRIAL_MS = 60_000

export class Connection {
  #cursor
  #open
  #openTrial
  #poll
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
  #resyncing = false
  #focused = true
  #attempts = []
  #silences = 0
  #slow // does it poll?
  #trial = null
  #trialTimer = null
  #triedAt = -Infinity
  #status = { state: "connecting" }

  /**
   * `open(cursor, focused)` makes an EventSource, `openTrial(cursor)` one beside it, `poll(cursor, focused)` what stands
   * in for one; `slow`: begin with that. `probe()` asks for the session and resolves to `{signedIn, answer}`;
   * `resync()` fetches a new state and resolves to its cursor; `onEvent` is told what happens, and
   * `onStatus(status, before)` how it is doing: `before` is the state until now, which more may be learnt about.
   */
  constructor({ cursor, open, openTrial, poll, slow = false, probe, resync, onEvent, onStatus }) {
    this.#cursor = cursor
    this.#open = open
    this.#openTrial = openTrial
    this.#poll = poll
    this.#slow = slow
    this.#probe = probe
    this.#resync = resync
    this.#onEvent = onEvent
    this.#onStatus = onStatus
  }

  get status() {
    return this.#status
  }

  /** Open a new stream from the cursor, now; while a new state is fetched, once that is here. */
  connect() {
    this.#hangUp()
    // What a stream beside it brings would be replaced by the older state, and never be sent again.
    if (this.#resyncing) return this.#say("resyncing")
    this.#say("connecting")
    this.#openStream()
  }

  /** The page shows another thread: the same stream, with that in focus. */
  refocus() {
    if (this.#status.state !== "connected") return // the next stream will ask what is in focus then
    this.#hangUp()
    this.#openStream()
  }

  /** Something changed for the better, or the page is looked at again: do not sit out the pause. */
  wake() {
    const { state } = this.#status
    if (state === "signed_out") return this.ask()
    if (state === "resting") return this.#comeBack()
    if (state === "waiting" || state === "offline" || this.#stream?.silent) this.connect()
    else if (this.#slow && state === "connected") this.#tryStream()
  }

  /** The page is not looked at: leave the browser's few connections to those that are. */
  rest() {
    if (this.#status.state === "signed_out") return
    this.#hangUp()
    this.#say("resting")
  }

  offline() {
    if (["signed_out", "resting"].includes(this.#status.state)) return
    this.#hangUp()
    this.#later("offline", OFFLINE_RETRY_MS)
  }

  /** Learn from the session whether to go on; a stream that fails cannot say why. Resolves as `probe()` did. */
  async ask() {
    const session = await this.#probe()
    this.#tell({ ...this.#status, probe: session.answer })
    if (session.signedIn && this.#status.state === "signed_out") this.resume()
    if (session.signedIn === false) this.#signOut()
    return session
  }

  resume() {
    this.#failures = 0
    this.connect()
  }

  #openStream() {
    const open = this.#slow ? this.#poll : this.#open
    this.#stream = new Stream(open(this.#cursor, this.#focused), {
      onFrame: frame => this.#hear(frame),
      onLost: (reason, { silent }) => silent && !this.#slow ? this.#missed(reason) : this.#lost(reason),
    })
  }

  /** A line that is dead is silent once, and the next is refused or heals; one that holds streams back is silent again. */
  #missed(reason) {
    this.#silences += 1
    if (this.#silences < SILENCES || navigator.onLine === false) return this.#lost(reason)
    this.#slow = true
    this.#triedAt = Date.now()
    this.connect()
  }

  #tryLater() {
    if (this.#slow) this.#trialTimer = setTimeout(() => this.#tryStream(), Math.max(0, this.#triedAt + TRIAL_MS - Date.now()))
  }

  /** Does a stream get through? The first word of one is enough to go back to it; silence again, and we poll again. */
  #tryStream() {
    this.#endTrial()
    this.#triedAt = Date.now()
    this.#trial = new Stream(this.#openTrial(this.#cursor), {
      onFrame: ({ name }) => name === "ready" ? this.#speedUp() : this.#giveUp(),
      onLost: () => this.#giveUp(),
    })
  }

  #giveUp() {
    this.#endTrial()
    this.#tryLater()
  }

  #speedUp() {
    this.#slow = false
    this.#silences = SILENCES - 1
    this.connect()
  }

  #endTrial() {
    clearTimeout(this.#trialTimer)
    this.#trial?.close()
    this.#trial = null
  }

  #hear({ name, id, data }) {
    if (name === "reset") return this.#stale()
    if (name === "bye") return this.#leave(data)
    if (id && epochOf(id) !== epochOf(this.#cursor)) return this.#stale()
    if (name === "ready") return this.#begin()
    if (name === "ping") this.#hearPing(data)
    else if (!this.#takeIn({ name, seq: seqOf(id), data })) return this.#stale()
    this.#prove()
    if (id) this.#cursor = id
  }

  /** Say whether it worked. An event that fails here would fail again: only a new state can take its place. */
  #takeIn(event) {
    try {
      this.#onEvent(event)
      return true
    } catch (error) {
      console.error(error)
      return false
    }
  }

  #begin() {
    this.#ready = true
    this.#focused = true
    this.#say("connected")
    this.#tryLater()
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

  #hearPing({ head }) {
    this.#silences = 0
    this.#compare(head)
  }

  /** Behind the same head at two pings running: something was lost on the way, and a new stream brings it. */
  #compare(head) {
    const missed = this.#behind !== null && seqOf(this.#cursor) < this.#behind
    this.#behind = seqOf(head) > seqOf(this.#cursor) ? seqOf(head) : null
    if (missed) queueMicrotask(() => this.connect())
  }

  async #stale() {
    this.#hangUp()
    this.#failures += 1
    this.#resyncing = true
    this.#say("resyncing")
    const error = await this.#renew().catch(error => error)
    this.#resyncing = false
    if (this.#status.state !== "resyncing") return // meanwhile put to rest, taken offline or signed out
    if (error) this.#lost(`History could not be fetched: ${error.message}`)
    else if (this.#failures > 1) this.#later("waiting", delayAfter(this.#failures))
    else this.connect()
  }

  /** The old cursor stays until the new state is here: if that fails, it still tells what the page has. */
  async #renew() {
    // Before any state: it may be that of somebody else, who signed in meanwhile.
    const { signedIn, answer } = await this.ask()
    if (!signedIn) throw new Error(answer)
    this.#cursor = await this.#resync()
  }

  /** Ask before opening: while the page rested, somebody else may have signed in. */
  async #comeBack() {
    this.#say("connecting")
    await this.ask()
    if (this.#status.state === "connecting" && !this.#stream) this.connect()
  }

  #leave({ reason, retry_ms }) {
    this.#hangUp()
    this.#later("waiting", retry_ms, { reason })
    if (reason === "auth") this.ask()
  }

  #lost(reason) {
    const wasReady = this.#ready
    this.#hangUp()
    if (navigator.onLine === false) return this.offline()
    this.#failures += 1
    this.#attempts = [...this.#attempts, { at: new Date(), reason }].slice(-ATTEMPTS_KEPT)
    this.#later("waiting", delayAfter(this.#failures))
    if (!wasReady) this.#askWhy()
  }

  /** Refused though signed in: perhaps for the thread in focus, which may be gone. Without it, the stream tells. */
  async #askWhy() {
    const { signedIn } = await this.ask()
    if (signedIn && !this.#ready) this.#focused = false
  }

  #signOut() {
    this.#hangUp()
    this.#say("signed_out")
  }

  #hangUp() {
    clearTimeout(this.#timer)
    clearTimeout(this.#proof)
    this.#endTrial()
    this.#stream?.close()
    this.#stream = null
    this.#ready = false
    this.#behind = null
  }

  /** `reason` is the server's, where it gave one. */
  #later(state, delay, { reason } = {}) {
    this.#timer = setTimeout(() => this.connect(), delay)
    this.#say(state, { retryAt: Date.now() + delay, reason })
  }

  #say(state, more = {}) {
    this.#tell({ state, probe: this.#status.probe, failures: this.#failures, attempts: this.#attempts, slow: this.#slow, ...more })
  }

  #tell(status) {
    const before = this.#status.state
    this.#status = status
    this.#onStatus(status, before)
  }
}
