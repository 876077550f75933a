/** What the agent is at, and what waits until it has answered that. */
import { newestRuns } from "./rooms.js"

const UNDER_WAY = new Set(["queued", "running"])

/** The run that the thread waits for: the oldest that has begun, else the first in line. Null if there is none. */
export function currentRun(room, said) {
  const open = [...newestRuns(room).values()].filter(run => UNDER_WAY.has(run.status)).sort(byId)
  return open.find(run => run.started_at) ?? firstInLine(open, said)
}

/** The ids of the messages among `said` that wait for the answers to others. */
export function queuedIn(room, said) {
  const runs = newestRuns(room)
  const current = currentRun(room, said)
  const waits = run => run?.status === "queued" && !run.started_at && run !== current
  return new Set(said.filter(({ id }) => waits(runs.get(id))).map(({ id }) => id))
}

/** The order of the questions: one that was sent now stands before older ones. */
function firstInLine(open, said) {
  const asked = said.flatMap(({ id }) => open.filter(run => run.message_id === id))
  return asked[0] ?? open[0] ?? null
}

function byId(a, b) {
  return a.id < b.id ? -1 : 1
}
