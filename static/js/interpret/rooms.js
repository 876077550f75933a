/** A room is what the page holds of one thread: messages and runs by id, and how far back it has been read. */
import { seqOf } from "../receive/cursor.js"
import { hasEnded, takePiece, takeWhole, without } from "./answers.js"
import { keepNewer } from "./newer.js"

/**
 * `floor` is the oldest seq shown. An update may be heard of a message further back; it is held below the floor until
 * its page is loaded, because that page may have been read before the update.
 */
export const empty = Object.freeze({
  loaded: false,
  problem: null,
  before: null,
  floor: Infinity,
  messages: new Map(),
  runs: new Map(),
  answers: new Map(), // that are being written
  tip: null, // {id, seq}: the end of the branch that is shown, and which seq told it
})

/** The newest page of messages, `{items, next, runs}`, but for those that are `gone`. */
export function load(room, page, gone) {
  return { ...extend(room, page, gone), loaded: true, problem: null }
}

/** A page older than all that is shown. */
export function extend(room, page, gone) {
  const items = page.items.filter(message => !gone.has(message.id))
  return {
    ...hearTip(room, page.tip_id, page.cursor && seqOf(page.cursor)),
    before: page.next,
    floor: page.next === null ? 0 : Math.min(room.floor, page.items[0]?.seq ?? Infinity),
    messages: items.reduce((held, message) => keepNewer(held, message, message.rev), room.messages),
    runs: page.runs.filter(run => !gone.has(run.message_id)).reduce((held, run) => keepNewer(held, run, run.rev), room.runs),
  }
}

/** The branch goes on from another message now; who told last is right. Undefined is not told. */
export function hearTip(room, id, seq) {
  return id === undefined || room.tip?.seq > seq ? room : { ...room, tip: { id, seq } }
}

export function hearMessage(before, { change, tip_id, ...message }, seq) {
  const room = hearTip(before, tip_id, seq)
  const messages = keepNewer(room.messages, message, Math.max(seq, message.rev))
  if (messages === room.messages) return room
  return { ...room, messages, answers: message.kind === "chat" ? without(room.answers, message.run_id) : room.answers }
}

/** With the runs that were to answer it: nobody waits for them any more. The branch ends before it. */
export function forgetMessage(before, { id }, seq) {
  const room = before.tip?.id === id ? hearTip(before, before.messages.get(id)?.parent_id, seq) : before
  const rest = (map, lost) => new Map([...map].filter(([, thing]) => !lost(thing)))
  return {
    ...room,
    messages: rest(room.messages, message => message.id === id),
    runs: rest(room.runs, run => run.message_id === id),
  }
}

export function forgetRun(room, { id }) {
  const runs = new Map(room.runs)
  return runs.delete(id) ? { ...room, runs } : room
}

export function hearRun(room, { change, ...run }, seq) {
  const runs = keepNewer(room.runs, run, Math.max(seq, run.rev ?? 0))
  if (runs === room.runs) return room
  return { ...room, runs, answers: hasEnded(run) ? without(room.answers, run.id) : room.answers }
}

/** All that is written of an answer, or its next piece. What comes after its end is of no account. */
export function hearAnswer(room, name, data) {
  if (isOver(room, data.run_id)) return room
  const answers = name === "partial" ? takeWhole(room.answers, data) : takePiece(room.answers, name, data)
  return answers === room.answers ? room : { ...room, answers }
}

/** The runs whose answer is held with a gap. */
export function behind(room) {
  return [...room.answers.values()].filter(answer => answer.behind).map(answer => answer.run_id)
}

function isOver(room, run_id) {
  return hasEnded(room.runs.get(run_id) ?? {}) || [...room.messages.values()].some(message => answers(message, run_id))
}

function answers({ kind, run_id }, id) {
  return kind === "chat" && run_id === id
}

/** All answers that are being written are forgotten: they shall be seen when they are whole. */
export function withoutAnswers(room) {
  return { ...room, answers: new Map() }
}

/** The messages held of all branches, oldest first. */
export function visible(room) {
  return [...room.messages.values()].filter(message => message.seq >= room.floor).sort((a, b) => a.seq - b.seq)
}

/** The newest run of all, or undefined. */
export function newestRun(room) {
  return [...room.runs.values()].sort((a, b) => a.id < b.id ? 1 : -1)[0]
}

/** The run that counts for each message, by message id: the newest, since a retry is a new run; one nobody asked for, by its own. */
export function newestRuns(room) {
  const newest = new Map()
  for (const run of room.runs.values()) {
    const asked = run.message_id ?? run.id
    const other = newest.get(asked)
    if (!other || run.id > other.id) newest.set(asked, run)
  }
  return newest
}
