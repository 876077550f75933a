import assert from "node:assert/strict"
import { test } from "node:test"
import { initial, reduce } from "../../static/js/interpret/state.js"
import { activity, timeline } from "../../static/js/interpret/timeline.js"
import { message, mine, run, snapshot, T1 } from "./sample.mjs"

const page = more => initial(snapshot(20, more))
const rows = state => timeline(state).filter(entry => entry.type === "message")

test("a failed run is told under the message it belongs to, and the newest can be asked again", () => {
  const state = page({
    items: [mine("m1", 2), mine("m2", 3)],
    runs: [run("r1", 5, { status: "error", error: "refused" }), run("r2", 6, { message_id: "m2", status: "timeout" })],
  })
  assert.deepEqual(rows(state).map(({ failure, retry }) => [failure, retry]), [
    ["refused", null],
    ["The agent did not answer in time.", "run"],
  ])
})

test("a failure that a newer run overtook cannot be asked again: the server would refuse", () => {
  for (const status of ["queued", "running", "waiting", "success"]) {
    const runs = [run("r1", 9, { status: "error" }), run("r2", 6, { message_id: "m2", status })]
    const state = page({ items: [mine("m1", 2), mine("m2", 3)], runs })
    assert.deepEqual(rows(state).map(({ retry }) => retry), [null, null], status)
  }
})

test("every way to fail has words of its own", () => {
  const words = ["error", "timeout", "lost"].map(status => {
    const [row] = rows(page({ items: [mine("m1", 2)], runs: [run("r1", 5, { status })] }))
    return row.failure
  })
  assert.equal(new Set(words.filter(Boolean)).size, 3)
})

test("what the agent does is answering, waiting or nothing", () => {
  const table = [["queued", "answering"], ["running", "answering"], ["waiting", "waiting"], ["success", null], ["error", null], ["stopped", null]]
  for (const [status, expected] of table) {
    const doing = activity(page({ items: [mine("m1", 2)], runs: [run("r1", 5, { status })] }))
    assert.equal(doing?.status ?? null, expected, status)
  }
})

test("an agent at work on what nobody asked for is at work, whatever became of another such run", () => {
  const runs = [run("r1", 5, { message_id: null, status: "running" }), run("r2", 6, { message_id: null, status: "error" })]
  assert.equal(activity(page({ runs })).status, "answering")
})

test("a retry hides the failure before it", () => {
  const state = page({
    items: [mine("m1", 2)],
    runs: [run("r1", 5, { status: "error", error: "refused" }), run("r2", 6, { status: "running" })],
  })
  assert.equal(rows(state)[0].failure, null)
  assert.equal(activity(state).status, "answering")
})

test("what an answer proposes to go on with is gone as soon as something is said", () => {
  const answered = page({ items: [mine("m1", 2), message("a1", 3)] })
  const sending = { client_id: "c2", thread_id: T1, text: "m2", created_at: mine("m2", 4).created_at }
  assert.equal(rows(answered)[1].newest, true)
  assert.equal(rows(reduce(answered, { type: "sending", message: sending }))[1].newest, false)
})

test("where a run has said more than one answer, each has a key of its own", () => {
  const items = [mine("m1", 2), message("a1", 3, { run_id: "r1" }), message("a2", 4, { run_id: "r1" })]
  const state = page({ items: items.map((each, index) => ({ ...each, parent_id: items[index - 1]?.id ?? null })) })
  assert.deepEqual(rows(state).map(({ key }) => key), ["client-m1", "a1", "run:r1"])
})

test("a message keeps its key from being sent to being confirmed", () => {
  const sending = { client_id: "client-m1", thread_id: T1, text: "m1", created_at: mine("m1", 2).created_at }
  const waiting = reduce(page({}), { type: "sending", message: sending })
  const confirmed = reduce(waiting, { type: "event", name: "message", seq: 21, data: { ...mine("m1", 21), change: "created" } })
  assert.deepEqual(rows(waiting).map(({ key, delivery }) => [key, delivery]), [["client-m1", "sending"]])
  assert.deepEqual(rows(confirmed).map(({ key, delivery }) => [key, delivery]), [["client-m1", "sent"]])
})

test("a day begins with its name, and what follows closely from the same person is grouped", () => {
  const at = time => ({ created_at: time })
  const state = page({
    items: [
      message("m1", 1, at("2026-11-18T12:00:00.000Z")),
      message("m2", 2, at("2026-11-18T12:01:00.000Z")),
      message("m3", 3, at("2026-11-18T12:20:00.000Z")),
      mine("m4", 4, at("2026-11-20T12:00:00.000Z")),
    ],
  })
  const shape = timeline(state).map(entry => entry.type === "day" ? "day" : [entry.message.id, entry.grouped])
  assert.deepEqual(shape, ["day", ["m1", false], ["m2", true], ["m3", false], "day", ["m4", false]])
})
