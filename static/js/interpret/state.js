/**
 * What the page knows, and how an action changes it. Pure: the same state and action always give the same state, and
 * an event applied twice, or older than what is held, changes nothing.
 */
import { PIECES } from "./answers.js"
import * as rooms from "./rooms.js"
import * as sending from "./sending.js"
import * as threads from "./threads.js"

const LOST = "This conversation no longer exists."

/** The state of a page that was just loaded with `snapshot` embedded in it. */
export function initial(snapshot) {
  const { user, agents, limits } = snapshot
  return adopt({ user, agents, limits, note: null, sending: new Map() }, {
    threads: { ...snapshot.threads, cursor: snapshot.cursor },
    thread: snapshot.thread,
    messages: snapshot.messages,
  })
}

export function reduce(state, action) {
  return actions[action.type](state, action)
}

const actions = {
  event: (state, { name, seq, data }) => events[name](state, data, seq),

  /** The person chose a thread, or with null a new conversation. What arrives from now on is held for it. */
  opened: (state, { thread_id }) => ({
    ...state,
    open: thread_id,
    note: null,
    rooms: thread_id && !state.rooms.has(thread_id) ? put(state.rooms, thread_id, rooms.empty) : state.rooms,
  }),

  history: (state, { thread_id, page }) => inRoom(state, thread_id, room => rooms.load(room, page, state.gone), page.items),
  older: (state, { thread_id, page }) => inRoom(state, thread_id, room => rooms.extend(room, page, state.gone), page.items),
  unloaded: (state, { thread_id, error }) => inRoom(state, thread_id, room => ({ ...room, problem: error.message }), []),
  listed: (state, { page }) => ({ ...state, ...threads.list(state, page) }),

  seen: (state, { thread_id, seq }) => ({ ...state, threads: threads.see(state.threads, thread_id, seq) }),

  /** History was stale: everything held is replaced by what the server says now. */
  resynced: (state, answer) => ({ ...adopt(state, answer), note: answer.lost ? LOST : state.note }),

  /** This page deleted the thread itself, so nothing needs explaining. */
  deleted: (state, { thread_id }) => withoutThread(state, thread_id, null),
  missing: (state, { thread_id }) => withoutThread(state, thread_id, LOST),
  unstreamed: state => ({ ...state, rooms: new Map([...state.rooms].map(([id, room]) => [id, rooms.withoutAnswers(room)])) }),

  /** The first message made a thread. Its event may have come before; else rev 0 lets any event of it be newer. */
  started: (state, { thread }) => ({
    ...state,
    threads: threads.hearThread(state, thread, 0),
    sending: sending.place(state.sending, thread.id),
  }),
  sending: (state, { message }) => ({ ...state, sending: sending.begin(state.sending, message) }),
  restored: (state, { messages, said }) => ({ ...state, sending: sending.restore(state.sending, messages, said?.items ?? []) }),
  retried: (state, { client_id }) => ({ ...state, sending: sending.retry(state.sending, client_id) }),
  failed: (state, { client_id, error }) => ({ ...state, sending: sending.fail(state.sending, client_id, error) }),
  discarded: (state, { client_id }) => ({ ...state, sending: sending.settle(state.sending, [{ client_id }]) }),
}

const events = {
  message: (state, data, seq) => {
    if (state.gone.has(data.id)) return state
    return isGone(data) ? withoutMessage(state, data, seq) : withMessage(state, data, seq)
  },
  run: (state, data, seq) => inRoom(state, data.thread_id, room => isGone(data) ? rooms.forgetRun(room, data) : rooms.hearRun(room, data, seq), []),
  ...Object.fromEntries(["partial", ...PIECES].map(name => [name, (state, data) => withAnswer(state, name, data)])),
  read: (state, data, seq) => isGone(data) ? state : { ...state, threads: threads.hearRead(state.threads, data, seq) },
  thread: (state, data, seq) => isGone(data)
    ? withoutThread(state, data.id, "This conversation was deleted.")
    : withThread(state, data, seq),
}

/** An event names what changed, and shows it as it is now: by then it may be gone, and its thread with it. */
function isGone({ change }) {
  return change === "deleted"
}

/**
 * Hold what a page or an answer says, and nothing else. `gone` are the ids of threads and messages that were deleted:
 * ids are never used again, so what is gone stays gone, whatever older page or event still names it.
 * The open thread may be too old for the first page of the list.
 */
function adopt(state, { threads: list, thread, messages }) {
  const held = threads.list({ threads: new Map(), gone: new Set() }, list)
  const room = thread && rooms.load(rooms.empty, messages, held.gone)
  return {
    ...state,
    ...held,
    threads: thread ? threads.hearThread(held, thread, 0) : held.threads,
    open: thread?.id ?? null,
    rooms: new Map(room ? [[thread.id, room]] : []),
    sending: sending.settle(state.sending, messages?.items ?? []),
  }
}

/** Change one room if it is held, and settle what was being sent once the server is seen to have it. */
function inRoom(state, thread_id, change, messages) {
  const room = state.rooms.get(thread_id)
  return {
    ...state,
    rooms: room ? put(state.rooms, thread_id, change(room)) : state.rooms,
    sending: sending.settle(state.sending, messages),
  }
}

function withMessage(state, data, seq) {
  return {
    ...inRoom(state, data.thread_id, room => rooms.hearMessage(room, data, seq), [data]),
    threads: threads.hearMessage(state.threads, data, seq),
  }
}

/** In a replay it is told as it is now, and what led to that follows. */
function withThread(state, data, seq) {
  const asOf = Math.max(seq, data.rev ?? 0)
  return {
    ...inRoom(state, data.id, room => rooms.hearTip(room, data.tip_id, asOf), []),
    threads: threads.hearThread(state, data, seq),
  }
}

function withAnswer(state, name, data) {
  return inRoom(state, data.thread_id, room => rooms.hearAnswer(room, name, data), [])
}

function withoutMessage(state, data, seq) {
  return {
    ...inRoom(state, data.thread_id, room => rooms.forgetMessage(room, data, seq), []),
    threads: threads.forgetMessage(state.threads, data),
    gone: new Set(state.gone).add(data.id),
  }
}

function withoutThread(state, thread_id, note) {
  const wasOpen = state.open === thread_id
  return {
    ...state,
    threads: without(state.threads, thread_id),
    rooms: without(state.rooms, thread_id),
    gone: new Set(state.gone).add(thread_id),
    sending: sending.leave(state.sending, thread_id),
    open: wasOpen ? null : state.open,
    note: wasOpen ? note : state.note,
  }
}

function put(map, key, value) {
  return map.get(key) === value ? map : new Map(map).set(key, value)
}

function without(map, key) {
  const rest = new Map(map)
  rest.delete(key)
  return rest
}
