/** A room is what the page holds of one thread: messages and runs by id, and how far back it has been read. */
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
})

/** The newest page of messages, `{items, next, runs}`, but for those that are `gone`. */
export function load(room, page, gone) {
  return { ...extend(room, page, gone), loaded: true, problem: null }
}

/** A page older than all that is shown. */
export function extend(room, page, gone) {
  const items = page.items.filter(message => !gone.has(message.id))
  return {
    ...room,
    before: page.next,
    floor: page.next === null ? 0 : Math.min(room.floor, page.items[0]?.seq ?? Infinity),
    messages: items.reduce((held, message) => keepNewer(held, message, message.rev), room.messages),
    runs: page.runs.filter(run => !gone.has(run.message_id)).reduce((held, run) => keepNewer(held, run, run.rev), room.runs),
  }
}

export function hearMessage(room, { change, ...message }, seq) {
  const messages = keepNewer(room.messages, message, Math.max(seq, message.rev))
  return messages === room.messages ? room : { ...room, messages }
}

/** With the runs that were to answer it: nobody waits for them any more. */
export function forgetMessage(room, { id }) {
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
  return runs === room.runs ? room : { ...room, runs }
}

/** The messages to show, oldest first. */
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
