import assert from "node:assert/strict"
import { test } from "node:test"
import { fromBytes, uuid } from "../../static/js/uuid.js"

const VERSION_4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

test("random bytes become a version 4 UUID, where the browser cannot make one", () => {
  assert.equal(fromBytes(new Uint8Array(16)), "00000000-0000-4000-8000-000000000000")
  assert.equal(fromBytes(new Uint8Array(16).fill(255)), "ffffffff-ffff-4fff-bfff-ffffffffffff")
})

test("every UUID is another", () => {
  const made = new Set(Array.from({ length: 100 }, uuid))
  assert.equal(made.size, 100)
  for (const id of made) assert.match(id, VERSION_4)
})
