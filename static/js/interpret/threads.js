/** The list of threads: by id, each with `rev` (seq of what is held of it) and what is unread. */
import { seqOf } from "../receive/cursor.js"

/** Take a page of `GET /threads`, `{items, next, cursor}`; all of it is at least as new as its cursor. */
export function list(held, page) {
  const rev = seqOf(page.cursor)
  return {
    gone: held.gone,
    threads: page.items.reduce((threads, thread) => keep(threads, held.gone, thread, rev), held.threads),
    threadsNext: page.next,
  }
}

/** A thread is shown as of its `rev`: told again later, it has counted messages whose own events are still to come. */
export function hearThread(held, { change, ...thread }, seq) {
  return keep(held.threads, held.gone, thread, Math.max(seq, thread.rev ?? 0))
}

/** A message moves its thread up, is the last said there and, from the agent, is unread until `read` says otherwise. */
export function hearMessage(threads, { change, ...message }, seq) {
  const thread = threads.get(message.thread_id)
  if (!thread) return threads
  const unread = change === "created" ? withUnread(thread.unread, message, seq) : thread.unread
  return new Map(threads).set(thread.id, { ...thread, ...said(thread, message, Math.max(seq, message.rev)), unread })
}

/** Its place as the last said stays taken: what was said before it must not come up again with a repeated event. */
export function forgetMessage(threads, { id, thread_id }) {
  const thread = threads.get(thread_id)
  if (!thread) return threads
  const wasLast = thread.last_message?.id === id
  const last_message = wasLast ? { ...thread.last_message, text: "", deleted: true } : thread.last_message
  return new Map(threads).set(thread.id, { ...thread, last_message, unread: withoutUnread(thread.unread, id) })
}

export function hearRead(threads, read, seq) {
  const thread = threads.get(read.thread_id)
  if (!thread) return threads
  const unread = counted(read.unread, Math.max(seq, read.rev ?? 0), thread.unread)
  return new Map(threads).set(thread.id, { ...thread, unread })
}

/** The person sees the thread up to `seq`: no need to wait for the server to say so. */
export function see(threads, thread_id, seq) {
  const thread = threads.get(thread_id)
  const heard = new Map([...thread.unread.heard].filter(([, heardSeq]) => heardSeq > seq))
  // With its `rev`, so that no repeated event or older count makes it unread again before the server has heard.
  const rev = Math.max(thread.unread.rev, seq)
  return new Map(threads).set(thread_id, { ...thread, unread: { count: 0, rev, heard } })
}

/** Newest first. */
export function inOrder(threads) {
  return [...threads.values()].sort((a, b) => compare(b.updated_at, a.updated_at) || compare(b.id, a.id))
}

export function unreadIn(thread) {
  return thread.unread.count + thread.unread.heard.size
}

export function unreadInAll(threads) {
  return [...threads.values()].reduce((sum, thread) => sum + unreadIn(thread), 0)
}

function keep(threads, gone, thread, rev) {
  const held = threads.get(thread.id)
  if (gone.has(thread.id) || held?.rev >= rev) return threads
  const unread = thread.unread === undefined ? held?.unread ?? counted(0, rev) : counted(thread.unread, rev, held?.unread)
  return new Map(threads).set(thread.id, { ...thread, ...laterWords(held, rev), rev, unread })
}

/** A message may have been heard that came after `rev`, as of which the thread is shown. */
function laterWords(held, rev) {
  if (!(held?.last_message?.seq > rev)) return {}
  return { last_message: held.last_message, updated_at: held.updated_at }
}

/**
 * What is unread is the server's count as of `rev` and, apart, the messages heard after it: a count alone would grow
 * again with each repetition of an event.
 */
function counted(count, rev, before) {
  if (before?.rev >= rev) return before
  const heard = [...before?.heard ?? []].filter(([, seq]) => seq > rev)
  return { count, rev, heard: new Map(heard) }
}

function withUnread(unread, message, seq) {
  if (message.direction !== "outgoing" || seq <= unread.rev) return unread
  return { ...unread, heard: new Map(unread.heard).set(message.id, seq) }
}

function withoutUnread(unread, id) {
  const heard = new Map(unread.heard)
  heard.delete(id)
  return { ...unread, heard }
}

/** Said after all that the thread shows, it is the last; one of before that is none, though the last may be gone. */
function said(thread, message, rev) {
  const last = thread.last_message
  if (last?.id === message.id) return last.rev >= rev ? {} : { last_message: { ...message, rev } }
  if (message.seq <= Math.max(thread.rev, last?.seq ?? 0)) return {}
  const updated_at = message.created_at > thread.updated_at ? message.created_at : thread.updated_at
  return { last_message: { ...message, rev }, updated_at }
}

function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0
}
