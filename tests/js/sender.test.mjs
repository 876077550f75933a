import assert from "node:assert/strict"
import { test } from "node:test"
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
