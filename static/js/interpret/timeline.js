/** The open conversation as a list of things to draw, in order, each with a key that stays the same for its life. */
import { newestRun, newestRuns, visible } from "./rooms.js"

const GROUP_MS = 5 * 60_000
const FAILED = new Set(["error", "timeout", "lost"])
const HOPELESS = new Set([400, 404, 409, 413, 422]) // the same words will never be taken
const BUSY = new Set(["queued", "running"])

export function timeline(state) {
  const room = state.rooms.get(state.open)
  const runs = room ? newestRuns(room) : new Map()
  const said = room ? visible(room) : []
  const retryable = room ? retryableIn(room) : null
  const entries = said.map(message => sentEntry(message, runs.get(message.id), retryable))
  return withDays([...entries, ...unsent(state).map(unsentEntry)])
}

/** What the agent is doing in the open conversation: null, or `{status: "answering" | "waiting", attempts}`. */
export function activity(state) {
  const room = state.rooms.get(state.open)
  const runs = room ? [...newestRuns(room).values()] : []
  const busy = runs.find(run => BUSY.has(run.status))
  if (busy) return { status: "answering", attempts: busy.attempts ?? 0 }
  return runs.some(run => run.status === "waiting") ? { status: "waiting", attempts: 0 } : null
}

export function unsent(state) {
  return [...state.sending.values()].filter(message => message.thread_id === state.open)
}

function sentEntry(message, run, retryable) {
  const failed = run && FAILED.has(run.status)
  return {
    key: message.client_id ?? message.id,
    type: "message",
    message,
    mine: message.direction === "incoming",
    delivery: "sent",
    stopped: run?.status === "stopped",
    failure: failed ? reason(run) : null,
    retry: failed && message.id === retryable ? "run" : null,
  }
}

function unsentEntry(message) {
  return {
    key: message.client_id,
    type: "message",
    message: { ...message, id: message.client_id, kind: "chat", data: null },
    mine: true,
    delivery: message.status,
    stopped: false,
    failure: message.error?.message ?? null,
    retry: message.status === "failed" ? (HOPELESS.has(message.error.status) ? "edit" : "message") : null,
  }
}

/** The id of the message that can be asked again: what the newest run failed to answer, as the server sees it too. */
function retryableIn(room) {
  const run = newestRun(room)
  return FAILED.has(run?.status) ? run.message_id : null
}

function reason({ status, error }) {
  return error || {
    error: "The agent failed and did not say why.",
    timeout: "The agent did not answer in time.",
    lost: "The agent stopped before it could finish.",
  }[status]
}

function withDays(entries) {
  return entries.flatMap((entry, index) => {
    const previous = entries[index - 1]
    const sameDay = previous && dayOf(previous) === dayOf(entry)
    const row = { ...entry, grouped: Boolean(sameDay && follows(previous, entry)) }
    return sameDay ? [row] : [{ key: dayOf(entry), type: "day", at: entry.message.created_at }, row]
  })
}

function follows(previous, entry) {
  const gap = new Date(entry.message.created_at) - new Date(previous.message.created_at)
  return previous.mine === entry.mine && gap < GROUP_MS
}

function dayOf(entry) {
  return new Date(entry.message.created_at).toDateString()
}
