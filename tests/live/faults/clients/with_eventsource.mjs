/**
 * Watchers by the npm package `eventsource`, the EventSource of node. It comes back by itself, except after an HTTP
 * error, which ends it for good as the standard says: then its user makes a new one, here with the last id.
 */
import { createRequire } from "node:module"
import { createInterface } from "node:readline"

const { EventSource } = createRequire(import.meta.url)("eventsource")
const EVENTS = ["ready", "message", "thread", "run", "read", "ping", "reset", "bye", "partial", "delta", "stage", "typing"]
const watchers = new Map()

class Watcher {
  #order
  #cursor
  #source = null
  #timer = null
  #left = false
  #floor = new Map() // by thread: up to here a re-read has shown it

  constructor(order) {
    this.#order = order
    this.#cursor = order.cursor
    this.#open()
  }

  leave() {
    this.#left = true
    clearTimeout(this.#timer)
    this.#source?.close()
  }

  #open() {
    if (this.#left) return
    const { url, path } = this.#order
    const source = new EventSource(`${url}${path}?${new URLSearchParams({ last_event_id: this.#cursor })}`, {
      fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, ...this.#credentials } }),
    })
    this.#source = source
    for (const name of EVENTS) source.addEventListener(name, event => this.#hear(name, event))
    source.addEventListener("open", () => this.#tell("open"))
    source.addEventListener("error", event => this.#lost(source, event))
  }

  #hear(name, event) {
    const body = JSON.parse(event.data)
    const id = event.lastEventId
    this.#cursor = id || this.#cursor
    if (name === "message") this.#hearMessage(id, body)
    else this.#tell(name, { id, data: body })
    if (name === "reset") this.#startAnew()
  }

  #hearMessage(id, { id: message, thread_id: thread, seq, text, change }) {
    if (seq > (this.#floor.get(thread) ?? 0)) this.#tell("message", { id, thread, message, seq, text, change })
  }

  #lost(source, { code, message }) {
    this.#tell("end", { how: code ? `HTTP ${code}` : message || "clean" })
    if (source.readyState === EventSource.CLOSED) this.#timer = setTimeout(() => this.#open(), 200 + 800 * Math.random())
  }

  /** What we hold cannot be continued: read all anew; the cursor is the first answer's, the oldest. */
  async #startAnew() {
    this.#source.close()
    try {
      const { items, cursor } = await this.#get("/threads")
      const all = this.#order.path === "/stream"
      for (const { id } of items) if (all || this.#order.path.includes(id)) await this.#reread(id)
      this.#cursor = cursor
      this.#open()
    } catch (error) {
      this.#tell("end", { how: `cannot re-read: ${error.message}` })
      if (!this.#left) this.#timer = setTimeout(() => this.#startAnew(), 200 + 800 * Math.random())
    }
  }

  async #reread(thread) {
    const shown = []
    for (let after = 0; after !== null;) {
      const page = await this.#get(`/threads/${thread}/messages?after=${after}&limit=200`)
      for (const { id, seq, text } of page.items) {
        shown.push([id, text])
        this.#floor.set(thread, seq)
      }
      after = page.next
    }
    this.#tell("state", { thread, shown })
  }

  async #get(path) {
    const answer = await fetch(this.#order.url + path, { headers: this.#credentials, signal: AbortSignal.timeout(10_000) })
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`)
    return answer.json()
  }

  get #credentials() {
    return { Authorization: `Bearer ${this.#order.token}` }
  }

  #tell(event, more = {}) {
    process.stdout.write(`${JSON.stringify({ who: this.#order.who, t: Date.now() / 1000, event, ...more })}\n`)
  }
}

createInterface({ input: process.stdin })
  .on("line", line => {
    const order = JSON.parse(line)
    if (order.do === "watch") watchers.set(order.who, new Watcher(order))
    if (order.do === "leave") watchers.get(order.who)?.leave()
  })
  .on("close", () => process.exit())
