import assert from "node:assert/strict"
import { beforeEach, mock, test } from "node:test"
import { Connection } from "../../static/js/receive/connection.js"

/** The end of a line that the test holds in its hand, in the place of an EventSource. */
class Line extends EventTarget {
  closed = false

  constructor(cursor) {
    super()
    this.cursor = cursor
  }

  send(name, data, id = this.cursor) {
    this.dispatchEvent(new MessageEvent(name, { data: JSON.stringify(data), lastEventId: id }))
  }

  greet() {
    this.send("ready", { head: this.cursor, ping: 15, conn: "c1" })
  }

  drop() {
    this.dispatchEvent(new Event("error"))
  }

  close() {
    this.closed = true
  }
}

let lines, heard, states, connection, probe, resync
const last = () => lines.at(-1)
const settled = () => new Promise(resolve => setImmediate(resolve))

beforeEach(() => {
  mock.timers.reset()
  mock.timers.enable({ apis: ["setTimeout", "Date"] })
  mock.method(Math, "random", () => 0.5)
  Object.defineProperty(globalThis, "navigator", { value: { onLine: true }, configurable: true })
  lines = []
  heard = []
  states = []
  probe = async () => ({ signedIn: true, answer: "200" })
  resync = async () => "e1.90"
  connection = new Connection({
    cursor: "e1.5",
    open: cursor => lines[lines.push(new Line(cursor)) - 1],
    probe: () => probe(),
    resync: () => resync(),
    onEvent: ({ seq }) => heard.push(seq),
    onStatus: status => states.push(status.state),
  })
  connection.connect()
})

/** Let the pause before the next attempt pass. */
function passPause() {
  mock.timers.tick(connection.status.retryAt - Date.now())
}

test("it opens from its cursor, and goes on from the last event after a cut", () => {
  last().greet()
  last().send("message", {}, "e1.6")
  last().send("run", {}, "e1.7")
  last().drop()
  passPause()
  assert.deepEqual(lines.map(line => line.cursor), ["e1.5", "e1.7"])
  assert.deepEqual(heard, [6, 7])
})

test("the place that a ping repeats is kept too, since a filter may have hidden events", () => {
  last().greet()
  last().send("ping", { head: "e1.9" }, "e1.9")
  last().drop()
  passPause()
  assert.equal(last().cursor, "e1.9")
})

test("pauses grow while streams fail, and end with the first that proves itself", () => {
  const pauses = []
  for (let failure = 0; failure < 4; failure += 1) {
    last().drop()
    pauses.push(connection.status.retryAt - Date.now())
    passPause()
  }
  assert.deepEqual(pauses, [500, 1_000, 2_000, 4_000])
  last().greet()
  last().send("message", {}, "e1.6")
  last().drop()
  assert.equal(connection.status.failures, 1)
})

test("a stream that greets and ends has proved nothing (P20)", () => {
  for (let failure = 1; failure <= 5; failure += 1) {
    last().greet()
    last().drop()
    assert.equal(connection.status.failures, failure)
    passPause()
  }
})

test("a stream that lives for ten seconds has proved itself", () => {
  last().drop()
  passPause()
  last().greet()
  mock.timers.tick(10_000)
  assert.equal(connection.status.failures, 0)
})

test("a goodbye is no failure, and says when to come back", () => {
  last().greet()
  last().send("bye", { reason: "rotate", retry_ms: 2_500 })
  assert.equal(connection.status.failures, 0)
  assert.equal(connection.status.retryAt - Date.now(), 2_500)
  assert.ok(last().closed)
  passPause()
  assert.equal(lines.length, 2)
})

test("a goodbye for want of rights asks the session, and waits there if it is over", async () => {
  probe = async () => ({ signedIn: false, answer: "401" })
  last().greet()
  last().send("bye", { reason: "auth", retry_ms: 2_500 })
  await settled()
  assert.equal(connection.status.state, "signed_out")
  mock.timers.tick(60_000)
  assert.equal(lines.length, 1)
  connection.resume()
  assert.equal(lines.length, 2)
})

test("a stream that never opened asks the session why", async () => {
  probe = async () => ({ signedIn: false, answer: "401" })
  last().drop()
  await settled()
  assert.equal(connection.status.state, "signed_out")
})

test("a server that cannot say whether the session lives does not end it", async () => {
  probe = async () => ({ signedIn: null, answer: "503" })
  last().drop()
  await settled()
  assert.equal(connection.status.state, "waiting")
  assert.equal(connection.status.probe, "503")
})

test("silence of two and a half pings ends a stream", () => {
  last().greet()
  mock.timers.tick(37_499)
  assert.equal(connection.status.state, "connected")
  mock.timers.tick(1)
  assert.equal(connection.status.state, "waiting")
  assert.ok(last().closed)
})

test("a stream that never greets is given up", () => {
  mock.timers.tick(15_000)
  assert.equal(connection.status.state, "waiting")
})

test("behind the same head at two pings, it opens a new stream from where it is", async () => {
  last().greet()
  last().send("ping", { head: "e1.8" }, "e1.5")
  last().send("ping", { head: "e1.9" }, "e1.5")
  await settled()
  assert.deepEqual(lines.map(line => line.cursor), ["e1.5", "e1.5"])
  assert.equal(connection.status.failures, 0)
})

test("a head that was reached by the next ping is no reason to", async () => {
  last().greet()
  last().send("ping", { head: "e1.8" }, "e1.5")
  for (const seq of [6, 7, 8]) last().send("message", {}, `e1.${seq}`)
  last().send("ping", { head: "e1.11" }, "e1.8")
  await settled()
  assert.equal(lines.length, 1)
})

test("a reset fetches a new state and goes on from its cursor", async () => {
  last().greet()
  last().send("reset", { reason: "pruned", head: "e1.80" }, "")
  assert.ok(last().closed)
  assert.equal(connection.status.state, "resyncing")
  await settled()
  assert.equal(last().cursor, "e1.90")
})

test("a reset whose fetch fails keeps the old cursor", async () => {
  resync = async () => { throw new Error("unreachable") }
  last().greet()
  last().send("reset", { reason: "pruned", head: "e1.80" }, "")
  await settled()
  assert.equal(connection.status.state, "waiting")
  passPause()
  assert.equal(last().cursor, "e1.5")
})

test("another epoch is a reset, even if nobody says so", async () => {
  last().send("ready", { head: "e2.0", ping: 15, conn: "c1" }, "e2.0")
  assert.equal(connection.status.state, "resyncing")
  await settled()
  assert.equal(last().cursor, "e1.90")
})

test("resets without end are not answered without pause", async () => {
  for (let round = 0; round < 3; round += 1) {
    last().greet()
    last().send("reset", { reason: "epoch", head: "e1.80" }, "")
    await settled()
    if (round > 0) assert.equal(connection.status.state, "waiting")
    if (round > 0) passPause()
  }
})

test("waking ends a pause at once, and leaves a living stream alone", () => {
  last().drop()
  connection.wake()
  assert.equal(lines.length, 2)
  last().greet()
  connection.wake()
  assert.equal(lines.length, 2)
})

test("waking from sleep notices that a stream has been silent, though its timers stood still", () => {
  last().greet()
  mock.timers.setTime(Date.now() + 600_000)
  connection.wake()
  assert.equal(lines.length, 2)
})

test("offline is no failure, and is tried now and then since a browser may be wrong", () => {
  last().greet()
  connection.offline()
  assert.equal(connection.status.state, "offline")
  assert.equal(connection.status.failures, 0)
  passPause()
  assert.equal(lines.length, 2)
})

test("a resting page has no stream until it is looked at", () => {
  last().greet()
  connection.rest()
  mock.timers.tick(600_000)
  assert.equal(lines.length, 1)
  assert.ok(last().closed)
  connection.wake()
  assert.equal(lines.length, 2)
})

test("never are two streams open", async () => {
  for (const upset of ["drop", "greet", "drop", "greet"]) {
    last()[upset]()
    connection.wake()
    connection.connect()
  }
  await settled()
  assert.equal(lines.filter(line => !line.closed).length, 1)
})
