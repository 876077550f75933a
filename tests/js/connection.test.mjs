import assert from "node:assert/strict"
import { beforeEach, mock, test } from "node:test"
import { Connection } from "../../static/js/receive/connection.js"
import { Line } from "./line.mjs"

let lines, polls, trials, heard, hear, states, connection, probe, resync
const last = () => lines.at(-1)
const settled = () => new Promise(resolve => setImmediate(resolve))

beforeEach(() => {
  mock.timers.reset()
  mock.timers.enable({ apis: ["setTimeout", "Date"] })
  mock.method(Math, "random", () => 0.5)
  Object.defineProperty(globalThis, "navigator", { value: { onLine: true }, configurable: true })
  lines = []
  polls = []
  trials = []
  heard = []
  hear = ({ seq }) => heard.push(seq)
  states = []
  probe = async () => ({ signedIn: true, answer: "200" })
  resync = async () => "e1.90"
  connection = new Connection({
    cursor: "e1.5",
    open: (cursor, focused) => lines[lines.push(new Line(cursor, focused)) - 1],
    openTrial: cursor => trials[trials.push(new Line(cursor)) - 1],
    poll: cursor => polls[polls.push(new Line(cursor)) - 1],
    probe: () => probe(),
    resync: () => resync(),
    onEvent: event => hear(event),
    onStatus: ({ state }, before) => states.push([before, state]),
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
  assert.equal(connection.status.reason, "rotate")
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

test("what is learnt about a session while it is connected does not look like connecting anew", async () => {
  last().greet()
  await connection.ask()
  const begun = states.filter(([before, state]) => state === "connected" && before !== "connected")
  assert.equal(begun.length, 1)
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
  mock.timers.tick(10_000)
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

test("what a refused stream was focused on may be why, so the next asks without", async () => {
  last().drop()
  await settled()
  passPause()
  last().greet()
  last().drop()
  passPause()
  assert.deepEqual(lines.map(line => line.focused), [true, false, true])
})

test("a server that does not answer at all says nothing against the focus", async () => {
  probe = async () => ({ signedIn: null, answer: "The server could not be reached." })
  last().drop()
  await settled()
  passPause()
  assert.equal(last().focused, true)
})

test("a reset asks for the session first, and takes no state that may be somebody else's", async () => {
  const asked = []
  resync = async () => asked.push("state")
  for (const signedIn of [false, null]) {
    probe = async () => ({ signedIn, answer: "" })
    connection.resume()
    last().greet()
    last().send("reset", { reason: "epoch", head: "e2.0" }, "")
    await settled()
    assert.equal(connection.status.state, signedIn === null ? "waiting" : "signed_out")
  }
  assert.deepEqual(asked, [])
})

test("one new state is fetched at a time, and no stream is opened beside it", async () => {
  const answers = []
  resync = () => new Promise(resolve => answers.push(resolve))
  last().greet()
  last().send("reset", { reason: "pruned", head: "e1.10" }, "")
  await settled()
  for (const impatient of ["connect", "resume", "offline", "wake", "rest", "wake"]) {
    connection[impatient]()
    await settled()
    assert.deepEqual([lines.length, answers.length], [1, 1], impatient)
  }
  answers[0]("e1.12")
  await settled()
  assert.deepEqual(lines.map(line => line.cursor), ["e1.5", "e1.12"])
})

test("a page put to rest while it fetched a new state goes on resting, and knows the state's place", async () => {
  let answer
  resync = () => new Promise(resolve => { answer = resolve })
  last().greet()
  last().send("reset", { reason: "pruned", head: "e1.80" }, "")
  await settled()
  connection.rest()
  answer("e1.90")
  await settled()
  assert.deepEqual([connection.status.state, lines.length], ["resting", 1])
  connection.wake()
  await settled()
  assert.equal(last().cursor, "e1.90")
})

test("an event that cannot be taken in is not skipped: a new state is fetched, with pauses if that does not help", async t => {
  t.mock.method(console, "error", () => {})
  hear = () => { throw new Error("broken") }
  for (let round = 1; round <= 3; round += 1) {
    last().greet()
    last().send("message", {}, "e1.91")
    last().send("message", {}, "e1.92")
    assert.equal(connection.status.state, "resyncing")
    await settled()
    if (round > 1) assert.equal(connection.status.state, "waiting")
    if (round > 1) passPause()
  }
  assert.deepEqual(lines.map(line => line.cursor), ["e1.5", "e1.90", "e1.90", "e1.90"])
  assert.equal(console.error.mock.callCount(), 3)
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

test("a resting page has no stream until it is looked at", async () => {
  last().greet()
  connection.rest()
  mock.timers.tick(600_000)
  assert.equal(lines.length, 1)
  assert.ok(last().closed)
  connection.wake()
  connection.wake()
  await settled()
  assert.equal(lines.length, 2)
})

test("a page that rested asks first who is signed in by now", async () => {
  probe = async () => ({ signedIn: false, answer: "401" })
  last().greet()
  connection.rest()
  connection.wake()
  await settled()
  assert.deepEqual([connection.status.state, lines.length], ["signed_out", 1])
})

test("nothing but a look at it ends a page's rest", async () => {
  let answer
  connection.rest()
  connection.offline()
  mock.timers.tick(600_000)
  assert.equal(connection.status.state, "resting")
  probe = () => new Promise(resolve => { answer = resolve })
  connection.wake()
  connection.rest()
  answer({ signedIn: true, answer: "200" })
  await settled()
  assert.deepEqual([connection.status.state, lines.length], ["resting", 1])
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

/** Twice a stream opens and brings nothing. */
function holdBack() {
  mock.timers.tick(10_000)
  passPause()
  mock.timers.tick(10_000)
}

test("streams that bring nothing, twice in a row, are given up for polling from the same place", () => {
  last().greet()
  last().send("message", {}, "e1.6")
  last().drop()
  passPause()
  holdBack()
  assert.deepEqual([polls.map(({ cursor }) => cursor), lines.filter(line => !line.closed).length], [["e1.6"], 0])
  polls[0].greet()
  assert.deepEqual([connection.status.state, connection.status.slow], ["connected", true])
  polls[0].send("message", {}, "e1.7")
  assert.deepEqual(heard, [6, 7])
})

test("one that greets but whose pings do not come is held back too; a ping proves the way", () => {
  last().greet()
  last().send("ping", { head: "e1.5" })
  mock.timers.tick(37_500)
  passPause()
  last().greet()
  last().send("ping", { head: "e1.5" })
  mock.timers.tick(37_500)
  passPause()
  assert.equal(polls.length, 0)
  last().greet()
  mock.timers.tick(37_500)
  assert.equal(polls.length, 1)
})

test("refusals are no reason to poll", () => {
  for (let round = 0; round < 5; round += 1) {
    last().drop()
    passPause()
  }
  assert.equal(polls.length, 0)
})

test("a stream is tried beside the polls every minute and on waking, and returned to when it greets", () => {
  holdBack()
  polls[0].greet()
  for (const minute of [1, 2]) {
    for (let second = 0; second < 60; second += 20) {
      mock.timers.tick(20_000)
      polls[0].send("ping", { head: "e1.5" })
    }
    assert.equal(trials.length, minute)
    mock.timers.tick(10_000)
    polls[0].send("ping", { head: "e1.5" })
    assert.ok(trials.at(-1).closed, "given up")
    mock.timers.tick(0)
  }
  polls[0].send("message", {}, "e1.8")
  connection.wake()
  trials.at(-1).greet()
  assert.deepEqual([polls[0].closed, trials.at(-1).closed, last().cursor], [true, true, "e1.8"])
  last().greet()
  assert.deepEqual([connection.status.state, connection.status.slow], ["connected", false])
})

test("a stream that greets on trial and is silent again is not given two more chances", () => {
  holdBack()
  polls[0].greet()
  connection.wake()
  trials[0].greet()
  mock.timers.tick(10_000)
  assert.equal(polls.length, 2)
})

test("a poll that fails is a failure like any other, and goes on as a poll", () => {
  holdBack()
  polls[0].greet()
  polls[0].drop()
  assert.equal(connection.status.state, "waiting")
  passPause()
  assert.equal(polls.length, 2)
})

test("a page that rests tries nothing", () => {
  holdBack()
  polls[0].greet()
  connection.rest()
  mock.timers.tick(600_000)
  assert.equal(trials.length, 0)
})
