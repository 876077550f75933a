import assert from "node:assert/strict"
import { beforeEach, mock, test } from "node:test"
import { listenForWakes } from "../../static/js/receive/wakes.js"

let told, page
const connection = { wake: () => told.push("wake"), rest: () => told.push("rest"), offline: () => told.push("offline") }

beforeEach(() => {
  mock.timers.reset()
  mock.timers.enable({ apis: ["setTimeout"] })
  told = []
  page = new EventTarget()
  globalThis.document = new EventTarget()
  globalThis.addEventListener = page.addEventListener.bind(page)
})

function look(at) {
  document.hidden = !at
  document.dispatchEvent(new Event("visibilitychange"))
}

test("a page that was opened in the background rests as well", () => {
  document.hidden = true
  listenForWakes(connection)
  mock.timers.tick(30_000)
  assert.deepEqual(told, ["rest"])
})

test("a page rests half a minute after it was last looked at, not before", () => {
  document.hidden = false
  listenForWakes(connection)
  told = []
  look(false)
  mock.timers.tick(29_999)
  look(true)
  mock.timers.tick(60_000)
  assert.deepEqual(told, ["wake"])
})

test("a network that comes back wakes no page that nobody looks at", () => {
  document.hidden = false
  listenForWakes(connection)
  look(false)
  told = []
  page.dispatchEvent(new Event("online"))
  assert.deepEqual(told, [])
  look(true)
  page.dispatchEvent(new Event("online"))
  assert.deepEqual(told, ["wake", "wake"])
})
