import assert from "node:assert/strict"
import { beforeEach, test } from "node:test"
import { initial, reduce } from "../../static/js/interpret/state.js"
import { timeline } from "../../static/js/interpret/timeline.js"
import { Unsent } from "../../static/js/unsent.js"
import { mine, snapshot, T1 } from "./sample.mjs"

const ALICE = { id: "u1" }
const said = { client_id: "client-m1", thread_id: T1, text: "m1", created_at: mine("m1", 2).created_at }
const sending = initial => reduce(initial, { type: "sending", message: said })
const failed = status => ({ type: "failed", client_id: said.client_id, error: Object.assign(new Error("No."), { status }) })
const restored = (messages, page = {}) => reduce(initial(snapshot(20, page)), { type: "restored", messages, said: snapshot(20, page).messages })

let stored
beforeEach(() => {
  stored = new Map()
  globalThis.sessionStorage = {
    getItem: key => stored.get(key) ?? null,
    setItem: (key, value) => stored.set(key, value),
    removeItem: key => stored.delete(key),
  }
})

function leaveWith(state) {
  new Unsent(ALICE).keep(state.sending)
  return new Unsent(ALICE).all
}

test("what was not sent is there after a reload, with the reason, and is not sent unasked", () => {
  const state = reduce(sending(initial(snapshot(20))), failed(503))
  const [row] = timeline(restored(leaveWith(state))).filter(({ type }) => type === "message")
  assert.deepEqual([row.message.text, row.delivery, row.failure, row.retry], ["m1", "failed", "No.", "message"])
})

test("of what was on its way nobody knows, and it says so", () => {
  const [kept] = leaveWith(sending(initial(snapshot(20))))
  assert.equal(kept.status, "failed")
  assert.match(kept.error.message, /never says it twice/)
})

test("what the server holds by now is not shown as unsent", () => {
  const kept = leaveWith(sending(initial(snapshot(20))))
  assert.equal(restored(kept, { items: [mine("m1", 2)] }).sending.size, 0)
})

test("what was sent leaves nothing behind, and another person finds nothing", () => {
  const unsent = new Unsent(ALICE)
  const state = sending(initial(snapshot(20)))
  unsent.keep(state.sending)
  assert.deepEqual(new Unsent({ id: "u2" }).all, [])
  unsent.keep(reduce(state, { type: "discarded", client_id: said.client_id }).sending)
  assert.equal(stored.size, 0)
})

test("what can never be accepted as it is can be edited, what may be accepted later tried again", () => {
  const table = [[400, "edit"], [413, "edit"], [422, "edit"], [401, "sign-in"], [429, "message"], [503, "message"], [0, "message"]]
  for (const [status, retry] of table) {
    const rows = timeline(reduce(sending(initial(snapshot(20))), failed(status)))
    assert.equal(rows.at(-1).retry, retry, String(status))
  }
})
