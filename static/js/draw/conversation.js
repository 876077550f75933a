/** The open conversation: its head, its messages, what the agent is doing, and the welcome where there is none. */
import { activity, queue, timeline } from "../interpret/timeline.js"
import { Messages } from "./messages.js"
import { Scroll } from "./scroll.js"
import { Silence } from "./silence.js"
import { part, setText } from "./template.js"
import { titleOf } from "./threads.js"
import { secondsSince } from "./times.js"

const QUEUED = "Queued: each is asked when the answer before it is there"
const NOTABLE = 2 // seconds: what takes less needs no number

const element = id => document.getElementById(id)

export class Conversation {
  #scroll
  #messages
  #queue
  #silence
  #open
  #last = null
  #since = null

  /** `acts` are those of `Messages`, `silence` those of `Silence`. */
  constructor({ acts, silence, onOlder, onReload, onEnd, onDelete }) {
    this.#messages = new Messages(element("messages"), acts)
    this.#queue = new Messages(element("queue"), acts)
    this.#silence = new Silence(silence)
    setInterval(() => this.#drawSeconds(), 1_000)
    this.#scroll = new Scroll({ onNearTop: onOlder, onEnd })
    element("older").addEventListener("click", onOlder)
    element("reload").addEventListener("click", onReload)
    element("delete-thread").addEventListener("click", onDelete)
  }

  get followed() {
    return this.#scroll.follows
  }

  draw(state) {
    const thread = state.threads.get(state.open)
    const entries = timeline(state)
    const queued = queue(state)
    const switched = this.#open !== state.open
    const last = queued.at(-1) ?? entries.at(-1)
    const news = !switched && last?.key !== this.#last
    if (switched || (news && last?.delivery === "sending")) this.#scroll.toEnd()
    this.#open = state.open
    this.#last = last?.key ?? null
    this.#drawHead(thread)
    this.#scroll.around(() => this.#drawLog(state, thread, entries, queued), { news })
  }

  #drawHead(thread) {
    element("room-title").textContent = thread ? titleOf(thread) : "New conversation"
    setText(element("room-agent"), thread?.agent.name)
    element("delete-thread").hidden = !thread
  }

  #drawLog(state, thread, entries, queued) {
    const room = state.rooms.get(state.open)
    setText(element("note"), state.note)
    element("welcome").hidden = state.open !== null || entries.length > 0
    setText(element("log-state"), logState(room, entries))
    element("reload").hidden = !room?.problem
    element("older").hidden = !room?.before
    const agent = thread?.agent.name ?? "Agent"
    this.#messages.draw(entries, agent)
    element("queue").hidden = queued.length === 0
    setText(element("queue-note"), queued.some(({ delivery }) => delivery === "queued") ? QUEUED : "")
    this.#queue.draw(queued, agent)
    const doing = activity(state)
    this.#drawActivity(doing, agent)
    this.#silence.draw(doing)
  }

  #drawActivity(doing, agent) {
    const line = element("activity")
    line.hidden = !doing || Boolean(doing.late)
    this.#since = doing?.stage?.began_at ?? doing?.since ?? null
    this.#drawSeconds()
    if (!doing) return
    line.dataset.status = doing.status
    const text = part(line, "text")
    const words = describe(doing, agent)
    if (text.textContent !== words) text.textContent = words
  }

  /** Not read aloud: they would never stop. */
  #drawSeconds() {
    const seconds = this.#since === null ? 0 : secondsSince(this.#since)
    setText(part(element("activity"), "seconds"), seconds >= NOTABLE ? `${seconds} s` : "")
  }
}

function logState(room, entries) {
  if (!room) return ""
  if (room.problem) return room.problem
  if (!room.loaded) return "Loading messages"
  return entries.length ? "" : "Nothing has been said here yet."
}

function describe({ status, attempts, stage }, agent) {
  if (status === "waiting") return `${agent} has asked a question and waits for your answer`
  if (stage) return stage.name
  return attempts > 1 ? `Trying to reach ${agent}, attempt ${attempts}` : `${agent} is answering`
}
