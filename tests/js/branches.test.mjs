import assert from "node:assert/strict"
import { test } from "node:test"
import { isFurtherBack } from "../../static/js/interpret/branches.js"
import { initial, reduce } from "../../static/js/interpret/state.js"
import { activity, queue, timeline } from "../../static/js/interpret/timeline.js"
import { event, message, mine, run, snapshot, T1, thread } from "./sample.mjs"

const Q = mine("q", 1, { parent_id: null })
const A1 = message("a1", 2, { parent_id: "q", run_id: "r1" })
const A2 = message("a2", 5, { parent_id: "q", run_id: "r2" })
const NEXT = mine("next", 3, { parent_id: "a1" })
const answered = run("r1", 2, { message_id: "q", status: "success", after_id: "q" })

/** A page of Alice's whose server said that the thread goes on from `tip_id`. */
function page(items, tip_id, runs = [answered], more = {}) {
  const given = snapshot(20, { items, runs, ...more })
  return initial({ ...given, messages: { ...given.messages, tip_id, cursor: given.cursor } })
}

function rows(state) {
  return timeline(state).filter(entry => entry.type === "message")
}

function ids(state) {
  return rows(state).map(({ message }) => message.id)
}

const told = (seq, tip_id) => event(seq, "thread", thread({ tip_id }), "updated")
const after = (state, ...actions) => actions.reduce(reduce, state)

test("only the branch is shown that ends at the tip", () => {
  assert.deepEqual(ids(page([Q, A1, NEXT, A2], "next")), ["q", "a1", "next"])
  assert.deepEqual(ids(page([Q, A1, NEXT, A2], "a2")), ["q", "a2"])
})

test("where nobody has told a tip, all is shown", () => {
  assert.deepEqual(ids(page([Q, A1, NEXT, A2], undefined)), ["q", "a1", "next", "a2"])
})

test("who told last where the thread goes on is right, whatever comes first", () => {
  const state = page([Q, A1, A2], "a1")
  assert.deepEqual(ids(after(state, told(22, "a2"), told(21, "q"))), ["q", "a2"])
  assert.deepEqual(ids(after(state, told(21, "q"), told(22, "a2"))), ["q", "a2"])
  assert.deepEqual(ids(after(state, told(19, "q"))), ["q", "a1"], "older than the page itself")
})

test("a message goes on from where it says, and tells the tip with it", () => {
  const state = reduce(page([Q, A1], "a1"), event(21, "message", { ...NEXT, seq: 21, rev: 21, tip_id: "next" }))
  assert.deepEqual(ids(state), ["q", "a1", "next"])
  assert.equal("tip_id" in rows(state)[2].message, false)
})

test("versions are those that follow the same message in the same direction", () => {
  const [question, answer] = rows(page([Q, A1, NEXT, A2], "a2"))
  assert.deepEqual([question.version, question.versions], [1, 1])
  assert.deepEqual([answer.version, answer.versions, answer.previous, answer.next], [2, 2, "a1", null])
  const first = rows(page([Q, mine("other", 6, { parent_id: null })], "other"))
  assert.deepEqual(first.map(({ version, versions, previous }) => [version, versions, previous]), [[2, 2, "q"]])
})

test("the branch begins where older messages are not loaded, and a tip further back is looked for", () => {
  const state = page([NEXT], "next", [], { next: 3 })
  assert.deepEqual(ids(state), ["next"])
  assert.equal(isFurtherBack(state.rooms.get(T1)), false)
  assert.equal(isFurtherBack(page([NEXT], "a2", [], { next: 3 }).rooms.get(T1)), true)
  assert.equal(isFurtherBack(page([NEXT], "a2", [], { next: null }).rooms.get(T1)), false)
})

test("the end of a branch that is taken back leaves what was before it", () => {
  const state = page([Q, A1, NEXT], "next")
  assert.deepEqual(ids(reduce(state, event(21, "message", { id: "next", thread_id: T1 }, "deleted"))), ["q", "a1"])
})

test("halves of a change that go round in a circle are shown once", () => {
  assert.deepEqual(ids(page([mine("x", 1, { parent_id: "y" }), mine("y", 2, { parent_id: "x" })], "y", [])), ["x", "y"])
})

const running = run("r2", 6, { message_id: "q", status: "running", after_id: "q", started_at: "2026-11-20T10:00:06.000Z" })
const SECOND = mine("second", 7, { parent_id: "q" })
const THIRD = mine("third", 8, { parent_id: "second" })
const waiting = [run("r3", 7, { message_id: "second", after_id: "second" }), run("r4", 8, { message_id: "third", after_id: "third" })]
const partial = (run_id, text, more) => ({ type: "event", name: "partial", data: { run_id, thread_id: T1, gen: 1, count: 1, status: "running", text, ...more } })

test("what waits for an answer stands in the queue, and the answer above it", () => {
  const state = reduce(page([Q, SECOND, THIRD], "third", [running, ...waiting]), partial("r2", "Hello"))
  assert.deepEqual(rows(state).map(({ key, delivery }) => [key, delivery]), [["client-q", "sent"], ["run:r2", "growing"]])
  assert.deepEqual(queue(state).map(({ message, delivery }) => [message.id, delivery]), [["second", "queued"], ["third", "queued"]])
})

test("of questions that nobody has begun with, the first of the branch is next, not the oldest", () => {
  const moved = [Q, A1, mine("third", 8, { parent_id: "a1" }), mine("second", 7, { parent_id: "third" })]
  const state = page(moved, "second", [answered, ...waiting])
  assert.deepEqual(ids(state), ["q", "a1", "third"])
  assert.deepEqual(queue(state).map(({ message }) => message.id), ["second"])
  assert.equal(activity(state).run_id, "r4")
})

test("what is sent while an answer is written goes below it, to the queue", () => {
  const sending = { client_id: "c9", thread_id: T1, text: "?", created_at: "2026-11-20T10:00:09.000Z" }
  const busy = reduce(page([Q], "q", [running]), { type: "sending", message: sending })
  assert.deepEqual([ids(busy), queue(busy).map(({ key }) => key)], [["q"], ["c9"]])
  const idle = reduce(page([Q, A1], "a1"), { type: "sending", message: sending })
  assert.deepEqual([ids(idle), queue(idle)], [["q", "a1", "c9"], []])
})

test("an answer that is written on another branch is not shown on this one", () => {
  const state = reduce(page([Q, A1], "a1", [answered, running]), partial("r2", "Another"))
  assert.deepEqual(ids(state), ["q", "a1"])
  assert.deepEqual(rows(reduce(state, told(22, "q"))).map(({ key }) => key), ["client-q", "run:r2"])
})

test("an answer keeps its key when it is finished, and stands there once", () => {
  const state = reduce(page([Q], "q", [running]), partial("r2", "Hel", { reasoning: "Hm." }))
  const done = reduce(state, event(21, "message", { ...A2, seq: 21, rev: 21, text: "Hello", tip_id: "a2" }))
  assert.deepEqual(rows(state).map(({ key, message }) => [key, message.parts?.reasoning ?? null]).at(-1), ["run:r2", "Hm."])
  assert.deepEqual(rows(done).map(({ key, delivery }) => [key, delivery]).at(-1), ["run:r2", "sent"])
  assert.deepEqual(ids(reduce(done, partial("r2", "Hel"))), ["q", "a2"], "what comes late changes nothing")
})

test("without streaming, what was begun is not shown", () => {
  const state = reduce(page([Q], "q", [running]), partial("r2", "Hel"))
  assert.deepEqual(ids(reduce(state, { type: "unstreamed" })), ["q"])
})

test("the stage and the silence of an answer are told, the stage only while it lasts", () => {
  const staged = stages => activity(reduce(page([Q], "q", [running]), partial("r2", "", { stages }))).stage
  assert.equal(staged([{ name: "Search", began_at: 1, duration_ms: 5 }, { name: "Write", began_at: 6 }]).name, "Write")
  assert.equal(staged([{ name: "Search", began_at: 1, duration_ms: 5 }]), null)
  assert.equal(activity(page([Q], "q", [running])).late, null)
  const late = { ...running, late_after_ms: 45_000, usual_ms: 12_000 }
  assert.deepEqual(activity(page([Q], "q", [late])).late, { after_ms: 45_000, usual_ms: 12_000 })
})

test("what an agent asks is a question for as long as it waits", () => {
  const asks = status => {
    const notice = message("a3", 9, { kind: "notice", run_id: "r2", parent_id: "q" })
    return rows(page([Q, notice], "a3", [{ ...running, status }])).at(-1).asks
  }
  assert.deepEqual([asks("waiting"), asks("success")], [true, false])
  const notice = message("a3", 9, { kind: "notice", run_id: "r2", parent_id: "q" })
  const answer = mine("m4", 10, { parent_id: "a3" })
  const state = page([Q, notice, answer], "m4", [{ ...running, status: "waiting" }, run("r5", 10, { message_id: "m4", status: "success" })])
  assert.deepEqual([rows(state)[1].asks, activity(state)], [false, null], "answered")
})

test("what became of an answer stands below it, or below its question where nothing was kept", () => {
  const failed = { ...answered, status: "error", error: "broken" }
  const failures = state => rows(state).map(({ failure }) => failure)
  assert.deepEqual(failures(page([Q], "q", [failed])), ["broken"])
  assert.deepEqual(failures(page([Q, A1], "a1", [failed])), [null, "broken"])
  const stopped = rows(page([Q, A1], "a1", [{ ...answered, status: "stopped" }]))
  assert.deepEqual(stopped.map(({ stopped, retry }) => [stopped, retry]), [[false, null], [true, null]])
  const nothing = rows(page([Q], "q", [{ ...answered, status: "stopped" }]))
  assert.deepEqual(nothing.map(({ stopped, retry }) => [stopped, retry]), [[true, "run"]])
})

test("what became of an answer on another branch stands only there", () => {
  const again = more => run("r2", 6, { message_id: "q", ...more })
  const states = state => rows(state).map(({ failure, stopped }) => failure ?? stopped)
  const failed = [answered, again({ status: "error", error: "boom" })]
  assert.deepEqual(states(page([Q, A1, A2], "a1", failed)), [false, false])
  assert.deepEqual(states(page([Q, A1, A2], "a2", failed)), [false, "boom"])
  assert.deepEqual(states(page([Q, A1, A2], "q", failed)), [false], "nor below the question alone")
  const stopped = [{ ...answered, status: "stopped" }, again({ status: "stopped" })]
  assert.deepEqual(states(page([Q, A1, A2], "a1", stopped)), [false, true])
  assert.deepEqual(states(page([Q, A1, A2], "a2", stopped)), [false, true])
})

test("what failed without an answer stands below its question while no other answer to it is shown", () => {
  const failed = [answered, run("r2", 6, { message_id: "q", status: "error", error: "boom" })]
  const failures = (tip, runs) => rows(page([Q, A1], tip, runs)).map(({ failure }) => failure)
  assert.deepEqual(failures("a1", failed), [null, null])
  assert.deepEqual(failures("q", failed), ["boom"])
  assert.equal(rows(page([Q, A1], "q", failed))[0].earlier, "a1", "the way back")
  assert.equal(rows(page([Q], "q", failed))[0].earlier, null)
  assert.deepEqual(failures("q", [...failed, run("r3", 7, { message_id: "q", status: "running" })]), [null], "asked again")
})

test("while an answer is written, nothing that would begin another is offered", () => {
  const offered = (items, tip, runs) => rows(page(items, tip, runs)).map(({ changeable }) => changeable)
  assert.deepEqual(offered([Q, A1], "a1", [answered]), [true, true])
  assert.deepEqual(offered([Q, A1, NEXT], "next", [answered, { ...running, message_id: "next" }]), [false, false, false])
})
