import assert from "node:assert/strict"
import { test } from "node:test"
import { epochOf, seqOf } from "../../static/js/receive/cursor.js"

// The epoch may hold any character of an id, the dot too (DESIGN 7), so the last dot counts.
const TABLE = [
  ["e1.0", "e1", 0],
  ["0198f0c2.17", "0198f0c2", 17],
  ["a.b-c_d.9007199254740991", "a.b-c_d", 9007199254740991],
]

test("a cursor is an epoch and a seq", () => {
  for (const [cursor, epoch, seq] of TABLE) {
    assert.equal(epochOf(cursor), epoch)
    assert.equal(seqOf(cursor), seq)
  }
})
