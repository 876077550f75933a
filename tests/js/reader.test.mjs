import assert from "node:assert/strict"
import { beforeEach, mock, test } from "node:test"
import { Reader } from "../../static/js/reader.js"

let told, reader

beforeEach(() => {
  mock.timers.reset()
  mock.timers.enable({ apis: ["setTimeout"] })
  told = []
  reader = new Reader({ read: async (thread_id, seq) => told.push(`${thread_id}:${seq}`) })
})

test("it tells at once, then the newest place once a second", () => {
  for (const seq of [1, 2, 3]) reader.saw("A", seq)
  assert.deepEqual(told, ["A:1"])
  mock.timers.tick(1_000)
  assert.deepEqual(told, ["A:1", "A:3"])
  mock.timers.tick(60_000)
  assert.deepEqual(told, ["A:1", "A:3"])
})

test("who goes on to another thread within the second has still read the first", () => {
  reader.saw("A", 1)
  reader.saw("A", 2)
  reader.saw("B", 9)
  mock.timers.tick(1_000)
  assert.deepEqual(told, ["A:1", "A:2", "B:9"])
})
