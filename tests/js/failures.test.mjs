import assert from "node:assert/strict"
import { test } from "node:test"
import { failureOfRun, failureOfSending } from "../../static/js/interpret/failures.js"
import { run } from "./sample.mjs"

const sending = (status, more) => failureOfSending({ status: "failed", error: { status, message: "No.", ...more } })

test("each kind of failure offers what may help", () => {
  const table = [[0, "network", "message"], [503, "network", "message"], [401, "session", "sign-in"], [429, "limit", "message"], [400, "refused", "edit"], [500, "server", "message"]]
  for (const [status, kind, retry] of table) {
    const failure = sending(status)
    assert.deepEqual([failure.kind, failure.retry], [kind, retry], String(status))
  }
})

test("a limit tells from when on it is over", () => {
  assert.equal(sending(429, { until: 1234 }).until, 1234)
})

test("a limit whose end is told does not advise to wait as well", () => {
  const limit = { message: "you may ask for 5 answers a minute; wait a little" }
  assert.equal(sending(429, { ...limit, until: 1234 }).failure, "you may ask for 5 answers a minute.")
  assert.equal(sending(429, limit).failure, limit.message)
  assert.equal(sending(400, { message: "a; b", until: 1234 }).failure, "a; b")
  assert.equal(sending(429, { message: "No.", until: 1234 }).failure, "No.")
})

test("a run that timed out is told apart from one whose agent failed, which has details", () => {
  const timeout = run("r1", 5, { status: "timeout" })
  assert.deepEqual([failureOfRun(timeout, timeout).kind, failureOfRun(timeout, timeout).retry], ["timeout", "run"])
  const failed = run("r1", 5, { status: "error", error: "x".repeat(1000), attempts: 3 })
  const { kind, failure, details, retry } = failureOfRun(failed, null)
  assert.deepEqual([kind, failure.length, retry], ["agent", 241, null])
  assert.match(details, /x{1000}\nRun r1 ended as error\n3 attempts/)
})
