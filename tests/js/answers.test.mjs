import assert from "node:assert/strict"
import { test } from "node:test"
import { PIECES, takePiece, takeWhole } from "../../static/js/interpret/answers.js"

const RUN = { run_id: "r1", thread_id: "t1", gen: 1 }
const EMPTY = new Map()

function whole(text, count, more = {}) {
  return { ...RUN, status: "running", count, text, ...more }
}

function delta(since, count, at, text, more = {}) {
  return { ...RUN, since, count, at, text, ...more }
}

function textOf(answers) {
  return answers.get("r1")?.text
}

test("pieces make the text", () => {
  let answers = takePiece(EMPTY, "delta", delta(0, 1, 0, "Hel"))
  answers = takePiece(answers, "delta", delta(0, 2, 0, "Hello"))
  answers = takePiece(answers, "delta", delta(2, 3, 5, ", 😀"))
  answers = takePiece(answers, "delta", delta(3, 4, 9, "!"))
  assert.equal(textOf(answers), "Hello, 😀!")
})

test("a piece that comes again, or late, changes nothing", () => {
  const one = takePiece(EMPTY, "delta", delta(0, 1, 0, "Hel"))
  const two = takePiece(one, "delta", delta(0, 2, 0, "Hello"))
  assert.equal(takePiece(two, "delta", delta(0, 1, 0, "Hel")), two)
  assert.equal(takePiece(two, "delta", delta(0, 2, 0, "Hello")), two)
})

test("every snapshot joins every later piece", () => {
  const tokens = ["a", "é", "😀", "b\n", "c", "d", "👩‍👩‍👧", "e"]
  const upTo = count => tokens.slice(0, count).join("")
  for (let saved = 0; saved <= tokens.length; saved++) {
    for (let held = saved; held <= tokens.length; held++) {
      for (let count = held + 1; count <= tokens.length; count++) {
        const snapshot = takeWhole(EMPTY, whole(upTo(held), held))
        const answers = takePiece(snapshot, "delta", delta(saved, count, upTo(saved).length, upTo(count).slice(upTo(saved).length)))
        assert.equal(textOf(answers), upTo(count))
      }
    }
  }
})

test("a piece that was lost is noticed, and the whole heals it", () => {
  let answers = takePiece(EMPTY, "delta", delta(0, 1, 0, "a"))
  answers = takePiece(answers, "delta", delta(2, 3, 2, "c"))
  assert.equal(answers.get("r1").behind, true)
  assert.equal(textOf(answers), "a")
  answers = takeWhole(answers, whole("abc", 3))
  assert.deepEqual([textOf(answers), answers.get("r1").behind], ["abc", false])
})

test("who takes the pen again further back is not mixed with what was there", () => {
  let answers = takePiece(EMPTY, "delta", delta(0, 3, 0, "abc"))
  answers = takePiece(answers, "delta", delta(1, 2, 1, "X", { gen: 2 }))
  assert.equal(answers.get("r1").behind, true)
  answers = takeWhole(answers, whole("aX", 2, { gen: 2 }))
  assert.equal(textOf(answers), "aX")
  assert.equal(takePiece(answers, "delta", delta(0, 4, 0, "abcd")), answers, "the old pen is heard no more")
})

test("what stands beside the text is replaced as it changes", () => {
  let answers = takePiece(EMPTY, "stage", { ...RUN, since: 0, count: 1, stages: [{ name: "retrieval" }] })
  answers = takePiece(answers, "sources", { ...RUN, since: 1, count: 2, sources: [{ title: "A" }] })
  const { stages, sources } = answers.get("r1")
  assert.deepEqual([stages, sources], [[{ name: "retrieval" }], [{ title: "A" }]])
})

test("an answer that has ended is held no more", () => {
  const answers = takeWhole(EMPTY, whole("abc", 3))
  assert.equal(takeWhole(answers, whole("abc", 3, { status: "success" })).size, 0)
})

test("every kind of piece is known", () => {
  assert.deepEqual(PIECES.toSorted(), ["delta", "follow_up_questions", "metadata", "quality_score", "reasoning", "sources", "stage", "tool"])
})
