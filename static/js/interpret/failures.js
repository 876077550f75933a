/** Why something failed, in words, of which kind it is, and what can be done about it. */
import { newestRun } from "./rooms.js"

const HOPELESS = new Set([400, 404, 409, 413, 422]) // the same words will never be taken
const PASSING = new Set([0, 502, 503, 504])
const FAILED = new Set(["error", "timeout", "lost"])
const SHORT = 240 // characters

const NONE = Object.freeze({ kind: null, failure: null, details: null, retry: null, until: null })

/** What became of a run: its failure, if it is one. `retryable` is the id of the run that can be asked again. */
export function failureOfRun(run, retryable) {
  if (!run || !FAILED.has(run.status)) return { ...NONE, retry: run?.status === "stopped" && run === retryable ? "run" : null }
  return {
    kind: run.status === "timeout" ? "timeout" : "agent",
    failure: reasonOf(run),
    details: detailsOf(run),
    retry: run === retryable ? "run" : null,
    until: null,
  }
}

/** What became of something that was sent; `until` is when it may be, or will be, sent again. */
export function failureOfSending({ status, error }) {
  if (status !== "failed") return NONE
  const kind = kindOf(error)
  const retry = { refused: "edit", session: "sign-in" }[kind] ?? "message"
  return { kind, failure: wordsOf(error), details: null, retry, until: error.until ?? null }
}

/** What the server says, but for what it advises after that where the time left is told: one of both is enough. */
export function wordsOf(error) {
  const isTimed = kindOf(error) === "limit" && error.until
  return isTimed ? `${error.message.split(";")[0].replace(/\.$/, "")}.` : error.message
}

/** Of an `ApiError`, or of one that was kept for a reload. */
export function kindOf({ status }) {
  if (PASSING.has(status)) return "network"
  if (status === 401) return "session"
  if (status === 429) return "limit"
  return HOPELESS.has(status) ? "refused" : "server"
}

/** The run that the server would let be asked again: the newest, if nothing came of it. */
export function retryableIn(room) {
  const run = newestRun(room)
  return run?.message_id && (FAILED.has(run.status) || run.status === "stopped") ? run : null
}

function reasonOf({ status, error }) {
  const words = error || {
    error: "The agent failed and did not say why.",
    timeout: "The agent did not answer in time.",
    lost: "The agent stopped before it could finish.",
  }[status]
  return words.length > SHORT ? `${words.slice(0, SHORT)}…` : words
}

function detailsOf({ id, status, error, attempts, started_at, ended_at }) {
  return [
    error?.length > SHORT && error,
    `Run ${id} ended as ${status}`,
    attempts > 1 && `${attempts} attempts`,
    started_at && `began ${started_at}`,
    ended_at && `ended ${ended_at}`,
  ].filter(Boolean).join("\n")
}
