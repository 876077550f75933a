import assert from "node:assert/strict"
import { mock, test } from "node:test"
import { initial } from "../../static/js/interpret/state.js"
import { Sender } from "../../static/js/sender.js"
import { Store } from "../../static/js/store.js"
import { mine, snapshot, T1 } from "./sample.mjs"

const settled = () => new Promise(resolve => setImmediate(resolve))

/** A sender whose first attempt is refused, since Alice's session has ended. `said` is what the server was given. */
async function refused(session) {
  const said = []
  const api = {
    async say(thread_id, text, client_id) {
      if (said.push(text) === 1) throw Object.assign(new Error("Sign in."), { status: 401 })
      return mine("m1", 30, { client_id })
    },
  }
  const store = new Store(initial(snapshot(20)), () => {})
  const sender = new Sender({ api, store, probe: async () => session, onRefused: () => {}, onStarted: () => {} })
  sender.say("Alice's words")
  await settled()
  assert.equal([...store.state.sending.values()][0].thread_id, T1)
  return { sender, said }
}

test("what was refused is sent again once its author is known to be signed in", async () => {
  const { sender, said } = await refused({ signedIn: true })
  await Promise.all([sender.resume(), sender.resume()])
  await settled()
  assert.deepEqual(said, ["Alice's words", "Alice's words"])
})

test("it is never sent while somebody else, or nobody, or nobody knows who is signed in", async () => {
  for (const signedIn of [false, null]) {
    const { sender, said } = await refused({ signedIn })
    await sender.resume()
    await settled()
    assert.equal(said.length, 1)
  }
})

test("what the network lost is sent again by itself, with longer and longer pauses, and said once", async () => {
  mock.timers.enable({ apis: ["setTimeout", "Date"] })
  const asked = []
  const api = {
    async say(thread_id, text, client_id) {
      if (asked.push(client_id) <= 2) throw Object.assign(new Error("Unreachable."), { status: 0 })
      return mine("m1", 30, { client_id })
    },
  }
  const store = new Store(initial(snapshot(20)), () => {})
  const sender = new Sender({ api, store, probe: async () => ({ signedIn: true }), onRefused: () => {}, onStarted: () => {} })
  const message = () => [...store.state.sending.values()][0]
  sender.say("Alice's words")
  const pauses = []
  for (let failure = 1; failure <= 2; failure += 1) {
    await settled()
    assert.equal(message().status, "failed")
    pauses.push(message().error.until - Date.now())
    mock.timers.tick(pauses.at(-1))
  }
  await settled()
  assert.ok(pauses[0] >= 4_000, String(pauses))
  assert.equal(message(), undefined)
  assert.equal(new Set(asked).size, 1)
  mock.timers.reset()
})

test("what was discarded is not sent again", async () => {
  mock.timers.enable({ apis: ["setTimeout", "Date"] })
  let asked = 0
  const api = { say: async () => { asked += 1; throw Object.assign(new Error("Unreachable."), { status: 0 }) } }
  const store = new Store(initial(snapshot(20)), () => {})
  const sender = new Sender({ api, store, probe: async () => ({ signedIn: true }), onRefused: () => {}, onStarted: () => {} })
  sender.say("never mind")
  await settled()
  sender.discard([...store.state.sending.keys()][0])
  mock.timers.tick(600_000)
  await settled()
  assert.equal(asked, 1)
  mock.timers.reset()
})

test("what is said after something that was lost comes after it", async () => {
  mock.timers.enable({ apis: ["setTimeout", "Date"] })
  const said = []
  let away = true
  const api = {
    async say(thread_id, text, client_id) {
      if (away) throw Object.assign(new Error("Unreachable."), { status: 0 })
      said.push(text)
      return mine(`m${said.length}`, 30 + said.length, { client_id })
    },
  }
  const store = new Store(initial(snapshot(20)), () => {})
  const sender = new Sender({ api, store, probe: async () => ({ signedIn: true }), onRefused: () => {}, onStarted: () => {} })
  const states = () => [...store.state.sending.values()].map(({ text, status }) => `${text} ${status}`)
  sender.say("one")
  await settled()
  sender.say("two")
  await settled()
  assert.deepEqual(states(), ["one failed", "two failed"])
  away = false
  sender.say("three")
  await settled()
  assert.deepEqual(said, ["one", "two", "three"])
  mock.timers.tick(600_000)
  await settled()
  assert.deepEqual([said.length, states()], [3, []])
  mock.timers.reset()
})
