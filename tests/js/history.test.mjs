import assert from "node:assert/strict"
import { beforeEach, test } from "node:test"
import { History } from "../../static/js/history.js"
import { visible } from "../../static/js/interpret/rooms.js"
import { initial } from "../../static/js/interpret/state.js"
import { Store } from "../../static/js/store.js"
import { message, snapshot, T1, thread } from "./sample.mjs"

let asked, store, history
const settled = () => new Promise(resolve => setImmediate(resolve))
const range = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => message(`m${from + index}`, from + index))
const room = () => store.state.rooms.get(T1)
const shown = () => visible(room()).map(({ seq }) => seq)
const listOf = (...items) => ({ items, next: null, cursor: "e1.100" })

/** A door whose answer the test gives when it likes: `asked.threads[0](page)`. */
function door(name) {
  asked[name] = []
  return () => new Promise(resolve => asked[name].push(resolve))
}

beforeEach(() => show(snapshot(60, { items: range(51, 60), next: 51 })))

function show(page) {
  asked = {}
  store = new Store(initial(page), () => {})
  const api = { threads: door("threads"), messages: door("messages"), olderMessages: door("older") }
  history = new History({ api, store, onRefused: () => {} })
}

async function resync() {
  const done = history.resync()
  asked.threads.at(-1)(listOf(thread()))
  await settled()
  asked.messages.at(-1)({ items: range(91, 100), runs: [], next: 91 })
  return done
}

test("an older page that lands after everything was fetched anew leaves no gap behind it", async () => {
  const older = history.older()
  await resync()
  asked.older[0]({ items: range(41, 50), runs: [], next: 41 })
  await older
  assert.equal(room().before, 91)
  assert.deepEqual(shown(), range(91, 100).map(({ seq }) => seq))
})

test("nor does a newest page that lands so late", async () => {
  show(snapshot(60, { thread: null, threads: [thread()] }))
  store.dispatch({ type: "opened", thread_id: T1 })
  const load = history.load()
  await resync()
  asked.messages[0]({ items: range(51, 60), runs: [], next: 51 })
  await load
  assert.equal(room().before, 91)
})

test("after everything was fetched anew, older pages can be asked for at once", async () => {
  history.older()
  await resync()
  const older = history.older()
  asked.older.at(-1)({ items: range(81, 90), runs: [], next: 81 })
  await older
  assert.equal(asked.older.length, 2)
  assert.equal(shown()[0], 81)
})

test("a thread that is heard of while another list is on its way is asked for as well", async () => {
  const done = Promise.all([history.moreThreads(), history.newThreads(), history.newThreads()])
  assert.equal(asked.threads.length, 2)
  asked.threads[0](listOf(thread()))
  asked.threads[1](listOf(thread()))
  await settled()
  assert.equal(asked.threads.length, 3)
  asked.threads[2](listOf(thread(), thread({ id: "t2" })))
  await done
  assert.equal(store.state.threads.has("t2"), true)
  assert.equal(asked.threads.length, 3)
})

test("what is held of a thread too old for the list is of no time, once everything was fetched anew", async () => {
  store.dispatch({ type: "event", name: "thread", seq: 99, data: { ...thread({ title: "of another life" }), change: "updated" } })
  const done = history.resync()
  asked.threads.at(-1)({ items: [], next: "older", cursor: "e2.7" })
  await settled()
  asked.messages.at(-1)({ items: range(1, 2), runs: [], next: null })
  await done
  store.dispatch({ type: "event", name: "thread", seq: 8, data: { ...thread({ title: "of this one" }), change: "updated" } })
  assert.equal(store.state.threads.get(T1).title, "of this one")
})
