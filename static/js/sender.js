/**
 * Sends what the person writes, one after another, so that the order written is the order kept. Each message carries a
 * `client_id`, so sending it again never says it twice. What the network lost is sent again by itself.
 */
import { ApiError } from "./api.js"
import { kindOf } from "./interpret/failures.js"
import { delayAfter } from "./receive/backoff.js"
import { uuid } from "./uuid.js"

const FIRST_PAUSE = 4 // failures of a connection that pause as long as the first here: people should see what happens

export class Sender {
  #api
  #store
  #probe
  #onRefused
  #onStarted
  #onFailed
  #queue = Promise.resolve()
  #failures = new Map() // by client_id: how often in a row the network failed
  #timers = new Map()

  /**
   * `probe()` asks for the session and resolves to `{signedIn}`; `onRefused` is called when the session has ended,
   * `onStarted(thread)` when a message began a new thread, `onFailed(error)` when one could not be sent.
   */
  constructor({ api, store, probe, onRefused, onStarted, onFailed = () => {} }) {
    this.#api = api
    this.#store = store
    this.#probe = probe
    this.#onRefused = onRefused
    this.#onStarted = onStarted
    this.#onFailed = onFailed
  }

  /** Say something in the open thread or, where none is open, in a new one with `agent`. */
  say(text, agent) {
    const message = { client_id: uuid(), thread_id: this.#store.state.open, text, agent, created_at: new Date().toISOString() }
    this.#store.dispatch({ type: "sending", message })
    this.#sendLater(message.client_id)
  }

  retry(client_id) {
    this.#begin(client_id)
    this.#sendLater(client_id)
  }

  discard(client_id) {
    this.#forget(client_id)
    this.#failures.delete(client_id)
    this.#store.dispatch({ type: "discarded", client_id })
  }

  /**
   * Send again what was refused because the session had ended, never in the name of somebody else who signed in; and
   * what the network lost, now that it is back.
   */
  async resume() {
    if (!this.#held.length || !(await this.#probe()).signedIn) return
    for (const { client_id } of this.#held) this.retry(client_id)
  }

  get #held() {
    const held = ({ client_id, error }) => error?.status === 401 || this.#timers.has(client_id)
    return [...this.#store.state.sending.values()].filter(held)
  }

  /** The last one before it, in its thread, that waits to be sent again by itself. */
  #lostBefore(client_id) {
    const all = [...this.#store.state.sending.values()]
    const at = all.findIndex(message => message.client_id === client_id)
    const isLost = message => message.thread_id === all[at].thread_id && this.#timers.has(message.client_id)
    return all.slice(0, Math.max(at, 0)).findLast(isLost)?.client_id
  }

  #begin(client_id) {
    this.#forget(client_id)
    this.#store.dispatch({ type: "retried", client_id })
  }

  #sendLater(client_id) {
    this.#queue = this.#queue.then(() => this.#send(client_id))
  }

  /** What was lost before it in the thread goes first, and holds it up until it is there. */
  async #send(client_id) {
    const earlier = this.#lostBefore(client_id)
    if (earlier) {
      this.#begin(earlier)
      await this.#send(earlier)
      const error = this.#timers.has(earlier) && this.#message(earlier)?.error
      if (error) return this.#fail(client_id, new ApiError(error))
    }
    try {
      const thread_id = await this.#threadOf(client_id)
      if (!thread_id) return
      const message = await this.#api.say(thread_id, this.#message(client_id).text, client_id)
      // The answer is the same news as its event, and whichever comes second changes nothing.
      this.#failures.delete(client_id)
      this.#store.dispatch({ type: "event", name: "message", seq: message.rev, data: { ...message, change: "created" } })
    } catch (error) {
      this.#fail(client_id, error)
    }
  }

  /** The thread the message belongs to, made now if it is the first there; undefined if the message is gone. */
  async #threadOf(client_id) {
    const message = this.#message(client_id)
    if (!message || message.thread_id) return message?.thread_id
    const thread = await this.#api.startThread(message.agent, `thread-${client_id}`)
    this.#store.dispatch({ type: "started", thread })
    this.#onStarted(thread)
    return thread.id
  }

  #message(client_id) {
    return this.#store.state.sending.get(client_id)
  }

  #fail(client_id, error) {
    if (kindOf(error) === "network") error.until = this.#retryLater(client_id)
    this.#store.dispatch({ type: "failed", client_id, error })
    this.#onFailed(error)
    if (error.status === 401) this.#onRefused()
  }

  /** Says when. */
  #retryLater(client_id) {
    const failures = (this.#failures.get(client_id) ?? 0) + 1
    const delay = delayAfter(failures + FIRST_PAUSE, 0.5 + Math.random() / 2)
    this.#failures.set(client_id, failures)
    this.#forget(client_id)
    this.#timers.set(client_id, setTimeout(() => this.retry(client_id), delay))
    return Date.now() + delay
  }

  #forget(client_id) {
    clearTimeout(this.#timers.get(client_id))
    this.#timers.delete(client_id)
  }
}
