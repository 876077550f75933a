/**
 * Replays what came to a page, against the page's own scripts: one sequence a line on stdin, what differs on stdout.
 * tests/test_invariant.py writes the sequences: pages loaded, frames, cuts, answers to GETs, fresh pages to compare with.
 */
import assert from "node:assert/strict"
import { createInterface } from "node:readline"
import { History } from "../../static/js/history.js"
import { initial } from "../../static/js/interpret/state.js"
import { inOrder, unreadIn } from "../../static/js/interpret/threads.js"
import { activity, timeline } from "../../static/js/interpret/timeline.js"
import { Connection } from "../../static/js/receive/connection.js"
import { Store } from "../../static/js/store.js"
import { Line } from "./line.mjs"

Object.defineProperty(globalThis, "navigator", { value: { onLine: true }, configurable: true })
const settled = () => new Promise(resolve => setImmediate(resolve))

/** A page without anything drawn. What it asks for is answered when the sequence says so. */
class Page {
  lines = []
  opened = 0
  asked = []

  constructor(snapshot) {
    const api = { threads: () => this.#ask(), messages: () => this.#ask() }
    this.store = new Store(initial(snapshot), () => {})
    const past = new History({ api, store: this.store, onRefused: () => {} })
    this.connection = new Connection({
      cursor: snapshot.cursor,
      open: cursor => this.lines[this.lines.push(new Line(cursor)) - 1],
      probe: async () => ({ signedIn: true, answer: "200" }),
      resync: () => past.resync(),
      onEvent: ({ name, seq, data }) => this.store.dispatch({ type: "event", name, seq, data }),
      onStatus: () => {},
    })
  }

  /** It opens by itself, or sits out a pause that the sequence has no time for. */
  async open(cursor) {
    if (this.lines.length === this.opened) this.connection.connect()
    await settled()
    this.opened += 1
    assert.deepEqual(this.lines.slice(this.opened - 1).map(line => line.cursor), [cursor], "opens from its cursor")
  }

  frame(name, id, data) {
    this.lines.at(-1).say(name, id, data)
  }

  cut() {
    this.lines.at(-1).drop()
  }

  list(answer) {
    this.#answer(answer, "list")
  }

  room(answer) {
    if (this.store.state.open !== null) this.#answer(answer, "room")
  }

  failed() {
    this.#answer(null, "failed")
  }

  same(fresh) {
    assert.deepEqual(seen(this.store.state), seen(initial(fresh)))
  }

  #ask() {
    return new Promise((resolve, reject) => this.asked.push({ resolve, reject }))
  }

  #answer(answer, what) {
    const question = this.asked.shift()
    assert.ok(question, `asks for ${what}`)
    if (answer) question.resolve(answer)
    else question.reject(Object.assign(new Error("Not found."), { status: what === "room" ? 404 : 0 }))
  }
}

/** What a person sees, without how it came to be known. */
function seen(state) {
  return {
    open: state.open,
    threads: inOrder(state.threads).map(thread => ({
      id: thread.id,
      title: thread.title,
      agent: thread.agent,
      updated_at: thread.updated_at,
      unread: unreadIn(thread),
      last: lastOf(thread),
    })),
    timeline: timeline(state),
    activity: activity(state),
  }
}

function lastOf({ last_message }) {
  return last_message && !last_message.deleted ? last_message.text.slice(0, 200) : null
}

async function replay([[, snapshot], ...steps]) {
  const page = new Page(snapshot)
  try {
    for (const [step, ...given] of steps) {
      await page[step](...given)
      await settled()
    }
  } finally {
    page.connection.rest()
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const error = await replay(JSON.parse(line)).then(() => null, error => error.stack)
  console.log(JSON.stringify(error))
}
