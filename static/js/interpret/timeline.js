/** The open conversation as a list of things to draw, in order, each with a key that stays the same for its life. */
import { shown, versionsIn } from "./branches.js"
import { failureOfRun, failureOfSending, retryableIn } from "./failures.js"
import { currentRun, queuedIn } from "./queue.js"
import { newestRun, newestRuns, visible } from "./rooms.js"

const GROUP_MS = 5 * 60_000

/** What is said, and beneath it what is being said. What waits its turn is in `queue`. */
export function timeline(state) {
  const room = state.rooms.get(state.open)
  if (!room) return withDays(unsent(state).map(unsentEntry))
  const { said, busy } = sceneOf(room)
  const entries = sentEntries(room, said, busy, unsent(state).length > 0)
  const last = said.at(-1)?.id ?? null
  const growing = [...room.answers.values()].filter(answer => hasBegun(answer) && belongsTo(room, answer, last))
  return withDays([...entries, ...growing.map(answer => growingEntry(answer, room)), ...(busy ? [] : unsent(state).map(unsentEntry))])
}

/** The questions that are put when the answer before them is there, and those that are only on their way to the server. */
export function queue(state) {
  const room = state.rooms.get(state.open)
  const { waiting, busy } = room ? sceneOf(room) : { waiting: [], busy: false }
  return [...waiting.map(queuedEntry), ...(busy ? unsent(state).map(unsentEntry) : [])]
}

/**
 * What the agent is doing in the open conversation: null, or `{status: "answering" | "waiting", attempts, run_id, since,
 * stage, late}`: `stage` is `{name, began_at}`; `late` is `{after_ms, usual_ms}` if nothing was heard for longer than usual.
 */
export function activity(state) {
  const room = state.rooms.get(state.open)
  const run = room && currentRun(room, shown(room))
  if (run) return answering(run, room.answers.get(run.id))
  const asking = room && askingRun(room)
  return asking ? { status: "waiting", attempts: 0, run_id: asking.id, since: null, stage: null, late: null } : null
}

export function unsent(state) {
  return [...state.sending.values()].filter(message => message.thread_id === state.open)
}

/** The run that waits for what the person says, until they have said something. */
function askingRun(room) {
  const run = newestRun(room)
  return run?.status === "waiting" ? run : null
}

function sceneOf(room) {
  const branch = shown(room)
  const queued = queuedIn(room, branch)
  return {
    said: branch.filter(({ id }) => !queued.has(id)),
    waiting: branch.filter(({ id }) => queued.has(id)),
    busy: currentRun(room, branch) !== null,
  }
}

function answering(run, answer) {
  const stage = answer?.stages?.at(-1)
  return {
    status: "answering",
    attempts: run.attempts ?? 0,
    run_id: run.id,
    since: run.started_at ?? run.created_at,
    stage: stage && stage.duration_ms === undefined ? stage : null,
    late: run.late_after_ms ? { after_ms: run.late_after_ms, usual_ms: run.usual_ms } : null,
  }
}

/** `goesOn`: something is on its way to the server, and will stand below them. */
function sentEntries(room, said, busy, goesOn) {
  const asked = newestRuns(room)
  const answered = new Set(said.filter(isAnswer).map(({ run_id }) => room.runs.get(run_id)?.message_id))
  const kept = new Set(visible(room).filter(isAnswer).map(({ run_id }) => run_id)) // on whatever branch
  const retryable = busy ? null : retryableIn(room)
  const versions = versionsIn(room)
  const newest = said.findLast(isAnswer)
  const keys = keysOf(said)
  return said.map(message => {
    const mine = message.direction === "incoming"
    // What became of a run stands below its answer, or below its question where nothing was kept of one, nor another is shown.
    const run = mine ? unless(answered, kept, asked.get(message.id)) : isAnswer(message) ? room.runs.get(message.run_id) : null
    return {
      ...entry(message, keys.get(message.id)),
      ...versionOf(message, versions.get(message.id)),
      ...failureOfRun(run, mine || run?.status !== "stopped" ? retryable : null), // a stopped answer can be asked for anew
      earlier: mine && run ? earlierAnswer(room, message) : null,
      delivery: "sent",
      stopped: run?.status === "stopped",
      asks: isQuestion(message, room),
      newest: message === newest && message === said.at(-1) && !goesOn,
      changeable: mine ? !busy : isAnswer(message) && !busy && Boolean(message.run_id),
      judgeable: isAnswer(message),
    }
  })
}

function unless(answered, kept, run) {
  return run && !answered.has(run.message_id) && !kept.has(run.id) ? run : null
}

/** Where an answer that was asked for anew has failed, the way back to the one before; null if there is none. */
function earlierAnswer(room, { id }) {
  return visible(room).findLast(message => isAnswer(message) && message.parent_id === id)?.id ?? null
}

/** What was sent, and an answer that was written to its end, keep their elements. No two messages have the same key. */
function keysOf(said) {
  const keys = new Map(said.map(({ id, client_id, direction }) => [id, (direction === "incoming" && client_id) || id]))
  const written = new Map(said.filter(isAnswer).filter(({ run_id }) => run_id).map(({ run_id, id }) => [run_id, id]))
  for (const [run_id, id] of written) keys.set(id, `run:${run_id}`) // the last, where a run has said more than one
  return keys
}

function isAnswer({ direction, kind }) {
  return direction === "outgoing" && kind === "chat"
}

/** Does the agent wait for what a person says to this? */
function isQuestion({ kind, run_id }, room) {
  return kind === "notice" && Boolean(run_id) && run_id === askingRun(room)?.id
}

function versionOf({ id }, ids = [id]) {
  const at = ids.indexOf(id)
  return { version: at + 1, versions: ids.length, previous: ids[at - 1] ?? null, next: ids[at + 1] ?? null }
}

/** Is there anything to see of it but that it is being written? */
function hasBegun({ text, reasoning, tools, sources }) {
  return Boolean(text || reasoning || tools?.length || sources?.length)
}

/** An answer follows `after_id`; where something else does, that is another branch. Of an unknown run nobody knows. */
function belongsTo(room, { run_id }, last) {
  const after = room.runs.get(run_id)?.after_id ?? null
  return after === null || after === last
}

function growingEntry({ run_id, text, gen, count, behind, status, thread_id, message_id, ...parts }, room) {
  const created_at = room.runs.get(run_id)?.started_at ?? new Date().toISOString()
  const message = { id: run_id, run_id, kind: "chat", direction: "outgoing", text, data: null, parts, created_at, edited_at: null }
  return { ...entry(message, `run:${run_id}`), delivery: "growing", count }
}

function queuedEntry(message) {
  return { ...entry(message, message.client_id ?? message.id), delivery: "queued", changeable: true }
}

function unsentEntry(message) {
  return {
    ...entry({ ...message, id: message.client_id, kind: "chat", direction: "incoming", data: null }, message.client_id),
    ...failureOfSending(message),
    delivery: message.status,
  }
}

function entry(message, key) {
  return {
    key,
    type: "message",
    message,
    mine: message.direction === "incoming",
    stopped: false,
    asks: false,
    newest: false,
    changeable: false,
    judgeable: false,
    earlier: null,
    ...versionOf(message),
    ...failureOfRun(null),
  }
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
