/**
 * Sends what the person writes, one after another, so that the order written is the order kept. Each message carries a
 * `client_id`, so sending it again never says it twice. What the network lost is sent again by itself.
 */
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
  #queue = Promise.resolve()
  #failures = new Map() // by client_id: how often in a row the network failed
  #timers = new Map()

  /**
   * `probe()` asks for the session and resolves to `{signedIn}`; `onRefused` is called when the session has ended,
   * `onStarted(thread)` when a message began a new thread.
   */
  constructor({ api, store, probe, onRefused, onStarted }) {
    this.#api = api
    this.#store = store
    this.#probe = probe
    this.#onRefused = onRefused
    this.#onStarted = onStarted
  }

  /** Say something in the open thread or, where none is open, in a new one with `agent`. */
  say(text, agent) {
    const message = { client_id: uuid(), thread_id: this.#store.state.open, text, agent, created_at: new Date().toISOString() }
    this.#store.dispatch({ type: "sending", message })
    this.#sendLater(message.client_id)
  }

  retry(client_id) {
    this.#forget(client_id)
    this.#store.dispatch({ type: "retried", client_id })
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

  #sendLater(client_id) {
    this.#queue = this.#queue.then(() => this.#send(client_id))
  }

  async #send(client_id) {
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
