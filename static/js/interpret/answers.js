/**
 * Answers that are being written, by run. Each piece names the events it covers, from `since` up to `count`: so it joins
 * on to what is held, is old, or shows that something between was lost; then `behind` asks for the whole anew.
 */
const TEXTS = { delta: "text", reasoning: "reasoning" }
const ENDED = new Set(["success", "error", "timeout", "lost", "stopped"])
const NOTHING = Object.freeze({ gen: 0, count: 0, text: "", behind: false })

export const PIECES = [...Object.keys(TEXTS), "stage", "tool", "sources", "quality_score", "follow_up_questions", "metadata"]

/** All of one answer, as the store has it. It may be older than what is held, or come after the end. */
export function takeWhole(answers, { status, ...whole }) {
  const held = answers.get(whole.run_id) ?? NOTHING
  if (ENDED.has(status)) return without(answers, whole.run_id)
  if (!held.behind && !isNewer(whole, held)) return answers
  return new Map(answers).set(whole.run_id, { text: "", ...whole, behind: false })
}

/** The next piece of an answer. `at` is where in its text that begins: a piece tells anew what may have been missed. */
export function takePiece(answers, name, { since, at, text, ...told }) {
  const held = answers.get(told.run_id) ?? NOTHING
  if (!isNewer(told, held)) return answers
  const rewritten = told.gen > held.gen && since < held.count
  if (since > held.count || rewritten) return new Map(answers).set(told.run_id, { ...held, run_id: told.run_id, behind: true })
  const section = TEXTS[name]
  const grown = section ? { [section]: (held[section] ?? "").slice(0, at) + text } : {}
  return new Map(answers).set(told.run_id, { ...held, ...told, ...grown })
}

export function without(answers, run_id) {
  const rest = new Map(answers)
  return rest.delete(run_id) ? rest : answers
}

export function hasEnded({ status }) {
  return ENDED.has(status)
}

function isNewer(told, held) {
  return told.gen > held.gen || (told.gen === held.gen && told.count > held.count)
}
