/** Alice's log, as the server would tell it: one thread with Atlas, what is said there, and a run. */
export const AGENT = { id: "a1", name: "Atlas" }
export const T1 = "t1"

const at = seq => `2026-11-20T10:00:${String(seq).padStart(2, "0")}.000Z`

export function thread(more = {}) {
  return { id: T1, agent: AGENT, title: null, topics: [], last_message: null, created_at: at(0), updated_at: at(0), unread: 0, ...more }
}

export function message(id, seq, more = {}) {
  return {
    id, thread_id: T1, seq, rev: seq, author: "Atlas", direction: "outgoing", kind: "chat", text: id, data: null,
    topic: null, client_id: null, run_id: null, created_at: at(seq), edited_at: null, ...more,
  }
}

export function mine(id, seq, more = {}) {
  return message(id, seq, { author: "alice", direction: "incoming", client_id: `client-${id}`, ...more })
}

export function run(id, rev, more = {}) {
  return {
    id, thread_id: T1, message_id: "m1", agent_id: AGENT.id, status: "queued", error: null, attempts: 0,
    created_at: at(rev), started_at: null, ended_at: null, rev, ...more,
  }
}

export function event(seq, name, data, change = "created") {
  return { type: "event", name, seq, data: name === "read" ? data : { ...data, change } }
}

/** The state of a page whose server was asked when the log's head was `seq`, with T1 open. */
export function snapshot(seq, { items = [], runs = [], next = null, thread: shown = thread(), threads = [shown] } = {}) {
  return {
    cursor: `e1.${seq}`,
    user: { id: "u1", name: "alice", role: "member" },
    agents: [AGENT],
    limits: { text: 32_000 },
    threads: { items: threads, next: null },
    thread: shown,
    messages: shown && { items, runs, next },
  }
}
