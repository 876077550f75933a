import assert from "node:assert/strict"
import { test } from "node:test"
import { Poll } from "../../static/js/receive/poll.js"

const settled = () => new Promise(resolve => setImmediate(resolve))

/** A poll whose answers the test gives, and what was heard of it. */
function begin() {
  const asked = [], heard = []
  const poll = new Poll("e1.5", request => new Promise((resolve, reject) => {
    asked.push({ ...request, resolve, reject })
    request.signal.addEventListener("abort", () => reject(request.signal.reason))
  }))
  for (const name of ["ready", "message", "ping", "error"]) {
    poll.addEventListener(name, ({ data, lastEventId }) => heard.push([name, lastEventId, data && JSON.parse(data)]))
  }
  return { poll, asked, heard }
}

test("the first answer is asked for at once and greets; those after it are waited for", async () => {
  const { asked, heard } = begin()
  asked[0].resolve({ events: [{ event: "message", id: "e1.6", data: { id: "m" } }], cursor: "e1.6" })
  await settled()
  assert.deepEqual(heard, [["ready", "e1.5", { head: "e1.5", ping: 25 }], ["message", "e1.6", { id: "m" }]])
  assert.deepEqual(asked.map(({ last_event_id, wait }) => [last_event_id, wait]), [["e1.5", 0], ["e1.6", 25]])
})

test("an answer with nothing in it is a sign of life", async () => {
  const { asked, heard } = begin()
  asked[0].resolve({ events: [], cursor: "e1.5" })
  await settled()
  asked[1].resolve({ events: [], cursor: "e1.9" })
  await settled()
  assert.deepEqual(heard.at(-1), ["ping", "e1.9", { head: "e1.9" }])
  assert.equal(asked[2].last_event_id, "e1.9")
})

test("a poll that fails is an error, once; one that is closed is silent", async () => {
  const { asked, heard } = begin()
  asked[0].reject(new Error("refused"))
  await settled()
  assert.deepEqual(heard.map(([name]) => name), ["error"])
  const other = begin()
  other.poll.close()
  await settled()
  assert.deepEqual([other.heard, other.asked.length], [[], 1])
})
