import assert from "node:assert/strict"
import { test } from "node:test"
import { delayAfter } from "../../static/js/receive/backoff.js"

const ALMOST_ONE = 1 - Number.EPSILON

test("the longest pause doubles with each failure, up to 30 s", () => {
  const longest = [1, 2, 3, 4, 5, 6, 7, 50].map(failures => delayAfter(failures, ALMOST_ONE))
  assert.deepEqual(longest, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000])
})

test("a pause is never so short that a page storms the server", () => {
  for (const failures of [0, 1, 2, 10]) assert.equal(delayAfter(failures, 0), 100)
})

test("the jitter is full: any pause between none and the longest is as likely", () => {
  for (const [random, pause] of [[0.1, 1_600], [0.5, 8_000], [0.75, 12_000]]) {
    assert.equal(delayAfter(5, random), pause)
  }
})

test("without a given random number, pauses differ", () => {
  const pauses = new Set(Array.from({ length: 50 }, () => delayAfter(6)))
  assert.ok(pauses.size > 10)
  assert.ok(Math.max(...pauses) <= 30_000)
})
