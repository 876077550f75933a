import assert from "node:assert/strict"
import { test } from "node:test"
import { roughlyOf, secondsOf } from "../../static/js/draw/times.js"

test("durations are said as people say them, whatever an agent tells", () => {
  const table = [
    [0, "0 s"], [440, "0.4 s"], [9_960, "10 s"], [12_300, "12 s"], [59_700, "1 min 0 s"], [119_700, "2 min 0 s"],
    [185_000, "3 min 5 s"], [7_500_000, "2 h 5 min"], [1e30, "more than a day"], [-5, "0 s"], [Infinity, "more than a day"],
    [null, "0 s"], ["soon", "0 s"],
  ]
  for (const [ms, words] of table) assert.equal(secondsOf(ms), words, String(ms))
})

test("how long something usually takes is said in whole seconds", () => {
  const table = [[100, "under a second"], [999, "under a second"], [1_000, "1 s"], [5_200, "5 s"], [61_000, "1 min 1 s"]]
  for (const [ms, words] of table) assert.equal(roughlyOf(ms), words, String(ms))
})
