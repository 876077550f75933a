import assert from "node:assert/strict"
import { test } from "node:test"
import { newestRuns, visible } from "../../static/js/interpret/rooms.js"
import { initial, reduce } from "../../static/js/interpret/state.js"
import { inOrder, unreadIn, unreadInAll } from "../../static/js/interpret/threads.js"
import { activity } from "../../static/js/interpret/timeline.js"
import { event, message, mine, run, snapshot, T1, thread } from "./sample.mjs"

const after = (state, ...actions) => actions.reduce(reduce, state)
const open = state => state.rooms.get(state.open)
const texts = state => visible(open(state)).map(message => message.text)

/** What a person sees of a state, without how it came to be known. */
function seen(state) {
  return {
    open: state.open,
    threads: inOrder(state.threads).map(({ id, title, last_message }) => ({ id, title, last: last_message?.id ?? null })),
    unread: inOrder(state.threads).map(unreadIn),
    messages: state.open ? visible(open(state)).map(({ id, text, seq }) => ({ id, text, seq })) : [],
    runs: state.open ? [...newestRuns(open(state)).values()].map(({ id, status }) => ({ id, status })) : [],
  }
}

const LOG = [
  event(1, "thread", thread()),
  event(2, "message", mine("m1", 2)),
  event(3, "run", run("r1", 3)),
  event(4, "run", run("r1", 4, { status: "running" }), "updated"),
  event(5, "message", message("m2", 5)),
  event(6, "run", run("r1", 6, { status: "success" }), "updated"),
  event(7, "message", message("m2", 5, { rev: 7, text: "m2, better" }), "updated"),
  event(8, "message", message("m3", 8)),
  event(9, "message", { id: "m3", thread_id: T1 }, "deleted"),
  event(10, "read", { thread_id: T1, seq: 5, unread: 0 }),
]
const START = initial(snapshot(0))
const END = after(START, ...LOG)

test("the log tells what was said, changed, taken back and read", () => {
  assert.deepEqual(texts(END), ["m1", "m2, better"])
  assert.equal(newestRuns(open(END)).get("m1").status, "success")
  assert.equal(unreadInAll(END.threads), 0)
})

test("an event applied twice changes nothing", () => {
  for (let cut = 1; cut <= LOG.length; cut += 1) {
    const once = after(START, ...LOG.slice(0, cut))
    for (const again of LOG.slice(0, cut)) {
      assert.deepEqual(seen(reduce(once, again)), seen(once), `event ${again.seq} again after ${cut}`)
    }
  }
})

test("a replay from any cursor ends where the page already was", () => {
  for (let cut = 0; cut <= LOG.length; cut += 1) {
    assert.deepEqual(seen(after(END, ...LOG.slice(cut))), seen(END), `replayed from ${cut}`)
  }
})

test("events out of order end in the same state", () => {
  const orders = [[...LOG].reverse(), [...LOG.slice(5), ...LOG.slice(0, 5)], [...LOG].sort((a, b) => (a.seq % 3) - (b.seq % 3))]
  for (const order of orders) assert.deepEqual(seen(after(START, ...order)).messages, seen(END).messages)
  for (const order of orders) assert.deepEqual(seen(after(START, ...order)).runs, seen(END).runs)
})

test("an older snapshot and the events since are a newer snapshot", () => {
  const said = [message("m2", 5, { rev: 7, text: "m2, better" })]
  const newer = initial(snapshot(10, {
    items: [mine("m1", 2), ...said],
    runs: [run("r1", 6, { status: "success" })],
    thread: thread({ last_message: message("m3", 8), updated_at: message("m3", 8).created_at }),
  }))
  assert.deepEqual(seen(END), seen(newer))
})

test("a snapshot read after its cursor takes the events in between without doubling", () => {
  // The cursor is read before the rows, so rows may already hold what the first events tell (P2, P3).
  for (let cursor = 0; cursor <= 10; cursor += 1) {
    const ahead = initial(snapshot(cursor, {
      items: [mine("m1", 2), message("m2", 5, { rev: 7, text: "m2, better" })],
      runs: [run("r1", 6, { status: "success" })],
    }))
    assert.deepEqual(seen(after(ahead, ...LOG.slice(cursor))).messages, seen(END).messages, `cursor ${cursor}`)
    assert.deepEqual(seen(after(ahead, ...LOG.slice(cursor))).runs, seen(END).runs, `cursor ${cursor}`)
  }
})

test("an update arrives with a known id and replaces the text (P14)", () => {
  const state = initial(snapshot(5, { items: [message("m2", 5)] }))
  const changed = reduce(state, event(7, "message", message("m2", 5, { rev: 7, text: "new" }), "updated"))
  assert.deepEqual(texts(changed), ["new"])
})

test("an older version of a message never replaces a newer one", () => {
  const state = initial(snapshot(7, { items: [message("m2", 5, { rev: 7, text: "new" })] }))
  assert.deepEqual(texts(reduce(state, event(5, "message", message("m2", 5, { text: "old" })))), ["new"])
  assert.deepEqual(texts(reduce(state, event(7, "message", message("m2", 5, { rev: 7, text: "x" }), "updated"))), ["new"])
})

test("what is gone stays gone, whatever still names it", () => {
  const state = after(START, event(2, "message", mine("m1", 2)), event(3, "message", { id: "m1", thread_id: T1 }, "deleted"))
  const late = { type: "older", thread_id: T1, page: { items: [mine("m1", 2)], runs: [], next: null } }
  assert.deepEqual(texts(reduce(state, event(2, "message", mine("m1", 2)))), [])
  assert.deepEqual(texts(reduce(state, late)), [])
})

test("with a message go the runs that were to answer it, told of again or not", () => {
  const asked = [event(2, "message", mine("m1", 2)), event(3, "run", run("r1", 3))]
  const taken = event(4, "message", { id: "m1", thread_id: T1 }, "deleted")
  const gone = event(3, "run", { id: "r1", thread_id: T1 }, "deleted")
  const late = { type: "older", thread_id: T1, page: { items: [mine("m1", 2)], runs: [run("r1", 3)], next: null } }
  assert.equal(activity(after(START, ...asked)).status, "answering")
  for (const last of [taken, gone]) assert.equal(activity(after(START, ...asked, last)), null)
  assert.equal(activity(after(START, ...asked, taken, late)), null)
})

test("what was heard while a thread was loading is not undone by its page", () => {
  const loading = after(initial(snapshot(4, { thread: null, threads: [thread()] })), { type: "opened", thread_id: T1 })
  const heard = reduce(loading, event(7, "message", message("m2", 5, { rev: 7, text: "new" }), "updated"))
  const page = { items: [mine("m1", 2), message("m2", 5, { text: "old" })], runs: [], next: null }
  assert.deepEqual(texts(heard), [])
  assert.deepEqual(texts(reduce(heard, { type: "history", thread_id: T1, page })), ["m1", "new"])
})

test("an update to a message further back waits for its page", () => {
  const state = initial(snapshot(60, { items: [message("m60", 60)], next: 60 }))
  const heard = reduce(state, event(61, "message", message("m10", 10, { rev: 61, text: "new" }), "updated"))
  const page = { items: [message("m10", 10, { text: "old" })], runs: [], next: null }
  assert.deepEqual(texts(heard), ["m60"])
  assert.deepEqual(texts(reduce(heard, { type: "older", thread_id: T1, page })), ["new", "m60"])
})

test("the newest run of a message counts, in whatever order its runs are told", () => {
  const first = event(3, "run", run("r1", 3, { status: "error", error: "refused" }), "updated")
  const second = event(5, "run", run("r2", 5, { status: "running" }))
  for (const order of [[first, second], [second, first]]) {
    assert.equal(newestRuns(open(after(START, ...order))).get("m1").id, "r2")
  }
})

test("unread counts what the agent said since, and each message once", () => {
  const state = after(START, event(5, "message", message("m2", 5)), event(6, "message", message("m3", 6)), event(7, "message", mine("m4", 7)))
  assert.equal(unreadInAll(state.threads), 2)
  assert.equal(unreadInAll(reduce(state, event(5, "message", message("m2", 5))).threads), 2)
  assert.equal(unreadInAll(reduce(state, event(8, "read", { thread_id: T1, seq: 6, unread: 0 })).threads), 0)
})

test("a count from the server takes the place of the messages it has counted", () => {
  const state = after(START, event(5, "message", message("m2", 5)), event(9, "message", message("m3", 9)))
  const counted = reduce(state, event(7, "thread", thread({ title: "named", unread: 1 }), "updated"))
  assert.equal(unreadInAll(counted.threads), 2)
  assert.equal(counted.threads.get(T1).title, "named")
})

test("a thread or a mark that is told late has counted what is told after it", () => {
  const empty = initial(snapshot(0, { thread: null, threads: [] }))
  const said = [event(2, "message", message("m1", 2)), event(3, "message", message("m2", 3))]
  const created = event(1, "thread", thread({ rev: 3, unread: 2 }))
  assert.equal(unreadInAll(after(empty, created, ...said).threads), 2)
  const marked = event(4, "read", { thread_id: T1, seq: 2, unread: 1, rev: 6 })
  const more = event(5, "message", message("m3", 5))
  assert.equal(unreadInAll(after(empty, created, ...said, marked, more).threads), 1)
})

test("what the person sees is read at once, and what comes later is not", () => {
  const state = after(START, event(5, "message", message("m2", 5)), event(9, "message", message("m3", 9)))
  assert.equal(unreadInAll(reduce(state, { type: "seen", thread_id: T1, seq: 5 }).threads), 1)
  assert.equal(unreadInAll(reduce(state, { type: "seen", thread_id: T1, seq: 9 }).threads), 0)
})

test("what the person has seen is not unread again, whatever repeats it", () => {
  const heard = event(9, "message", message("m3", 9))
  const saw = after(START, heard, { type: "seen", thread_id: T1, seq: 9 })
  const listed = { type: "listed", page: { items: [thread({ unread: 1 })], next: null, cursor: "e1.9" } }
  for (const again of [heard, listed]) assert.equal(unreadInAll(reduce(saw, again).threads), 0, again.type)
  assert.equal(unreadInAll(after(saw, event(10, "message", message("m4", 10))).threads), 1)
})

test("an older read marker does not hide what came later", () => {
  const state = after(START, event(8, "read", { thread_id: T1, seq: 6, unread: 0 }), event(9, "message", message("m3", 9)))
  assert.equal(unreadInAll(reduce(state, event(7, "read", { thread_id: T1, seq: 2, unread: 5 })).threads), 1)
})

test("a list read before a message was heard does not take its place as the last said", () => {
  const heard = reduce(START, event(9, "message", message("m3", 9)))
  const page = { items: [thread({ title: "named", last_message: message("m2", 5) })], next: null, cursor: "e1.8" }
  const listed = reduce(heard, { type: "listed", page }).threads.get(T1)
  assert.equal(listed.title, "named")
  assert.equal(listed.last_message.id, "m3")
})

test("a thread whose last message was taken back is not shown with the one before it", () => {
  const said = event(5, "message", message("m2", 5))
  const taken = [event(6, "message", { id: "m3", thread_id: T1 }, "deleted"), event(8, "thread", thread(), "updated")]
  const edited = event(9, "message", message("m2", 5, { rev: 9, text: "better" }), "updated")
  assert.equal(after(START, said, ...taken).threads.get(T1).last_message, null)
  assert.equal(after(START, said, ...taken, edited).threads.get(T1).last_message, null)
})

test("a message moves its thread to the top", () => {
  const other = thread({ id: "t2", updated_at: "2026-11-20T10:00:04.000Z" })
  const state = initial(snapshot(4, { threads: [other, thread()] }))
  assert.deepEqual(inOrder(state.threads).map(({ id }) => id), ["t2", T1])
  assert.deepEqual(inOrder(reduce(state, event(5, "message", message("m2", 5))).threads).map(({ id }) => id), [T1, "t2"])
})

test("a thread deleted elsewhere vanishes, with a word if it was open", () => {
  const gone = reduce(END, event(11, "thread", { id: T1 }, "deleted"))
  assert.equal(gone.open, null)
  assert.equal(gone.threads.size, 0)
  assert.match(gone.note, /deleted/)
  assert.equal(reduce(gone, event(1, "thread", thread())).threads.size, 0)
})

test("events of a thread that is gone by now say so, and break nothing", () => {
  const events = ["run", "read", "message"].map((name, i) => ({ type: "event", name, seq: 11 + i, data: { id: "x", thread_id: T1, change: "deleted" } }))
  assert.deepEqual(seen(after(END, ...events)), seen(END))
})

test("a thread that this page deleted needs no word, also when its event comes", () => {
  const gone = after(END, { type: "deleted", thread_id: T1 }, event(11, "thread", { id: T1 }, "deleted"))
  assert.equal(gone.note, null)
})

test("what is being sent is confirmed by its client_id, by whatever brings it first", () => {
  const sending = { type: "sending", message: { client_id: "client-m1", thread_id: T1, text: "m1", created_at: "2026-11-20T10:00:02.000Z" } }
  const page = { items: [mine("m1", 2)], runs: [], next: null }
  const waiting = reduce(START, sending)
  assert.equal(waiting.sending.size, 1)
  for (const news of [event(2, "message", mine("m1", 2)), { type: "history", thread_id: T1, page }]) {
    const confirmed = reduce(waiting, news)
    assert.equal(confirmed.sending.size, 0)
    assert.deepEqual(texts(confirmed), ["m1"])
  }
})

test("a failure that comes after the message itself is not shown", () => {
  const sending = { type: "sending", message: { client_id: "client-m1", thread_id: T1, text: "m1", created_at: "2026-11-20T10:00:02.000Z" } }
  const failed = { type: "failed", client_id: "client-m1", error: { message: "No answer" } }
  assert.equal(after(START, sending, event(2, "message", mine("m1", 2)), failed).sending.size, 0)
})

test("the first message of a new conversation goes where its thread is made", () => {
  const nowhere = initial(snapshot(0, { thread: null, threads: [] }))
  const sending = { type: "sending", message: { client_id: "c1", thread_id: null, text: "hello", created_at: "2026-11-20T10:00:02.000Z" } }
  const placed = after(nowhere, sending, { type: "started", thread: thread() })
  assert.equal(placed.sending.get("c1").thread_id, T1)
  assert.equal(placed.threads.size, 1)
})

test("a new state replaces all that is held, except what is being sent", () => {
  const sending = { type: "sending", message: { client_id: "c9", thread_id: T1, text: "draft", created_at: "2026-11-20T10:00:09.000Z" } }
  const fresh = { items: [thread({ title: "fresh" })], next: null, cursor: "e2.3" }
  const messages = { items: [message("m9", 2)], runs: [], next: null, cursor: "e2.3" }
  const state = after(END, sending, { type: "resynced", threads: fresh, thread: thread(), messages, lost: false })
  assert.deepEqual(texts(state), ["m9"])
  assert.equal(state.threads.get(T1).title, "fresh")
  assert.equal(state.sending.size, 1)
  // Numbers began anew with the epoch, and low ones count again.
  assert.deepEqual(texts(reduce(state, event(4, "message", message("m10", 4)))), ["m9", "m10"])
})

test("a state is never changed in place", () => {
  const before = JSON.stringify(seen(START))
  after(START, ...LOG)
  assert.equal(JSON.stringify(seen(START)), before)
})
