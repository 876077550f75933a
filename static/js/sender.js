/**
 * Sends what the person writes, one after another, so that the order written is the order kept. Each message carries a
 * `client_id`, so sending it again never says it twice.
 */
import { uuid } from "./uuid.js"

export class Sender {
  #api
  #store
  #probe
  #onRefused
  #onStarted
  #queue = Promise.resolve()

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
    this.#store.dispatch({ type: "retried", client_id })
    this.#sendLater(client_id)
  }

  discard(client_id) {
    this.#store.dispatch({ type: "discarded", client_id })
  }

  /** Send again what was refused because the session had ended; never in the name of somebody else who signed in. */
  async resume() {
    if (!this.#refused.length || !(await this.#probe()).signedIn) return
    for (const { client_id } of this.#refused) this.retry(client_id)
  }

  get #refused() {
    return [...this.#store.state.sending.values()].filter(message => message.error?.status === 401)
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
      this.#store.dispatch({ type: "event", name: "message", seq: message.rev, data: { ...message, change: "created" } })
    } catch (error) {
      this.#fail(client_id, error)
    }
  }

  /** The thread the message belongs to, made now if it is the first there; undefined if the message is gone. */
  async #threadOf(client_id) {
    const message = this.#message(client_id)
    if (!message || message.thread_id) return message?.thread_id
    const thread = await this.#api.startThread(message.agent)
    this.#store.dispatch({ type: "started", thread })
    this.#onStarted(thread)
    return thread.id
  }

  #message(client_id) {
    return this.#store.state.sending.get(client_id)
  }

  #fail(client_id, error) {
    this.#store.dispatch({ type: "failed", client_id, error })
    if (error.status === 401) this.#onRefused()
  }
}
