/** The open conversation: its head, its messages, what the agent is doing, and the welcome where there is none. */
import { activity, timeline } from "../interpret/timeline.js"
import { Messages } from "./messages.js"
import { Scroll } from "./scroll.js"
import { part, setText } from "./template.js"
import { titleOf } from "./threads.js"

const element = id => document.getElementById(id)

export class Conversation {
  #scroll
  #messages
  #open
  #last = null

  constructor({ onRetry, onDiscard, onOlder, onReload, onEnd, onDelete }) {
    this.#messages = new Messages({ onRetry, onDiscard })
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
    const switched = this.#open !== state.open
    const last = entries.at(-1)
    const news = !switched && last?.key !== this.#last
    if (switched || (news && last?.delivery === "sending")) this.#scroll.toEnd()
    this.#open = state.open
    this.#last = last?.key ?? null
    this.#drawHead(thread)
    this.#scroll.around(() => this.#drawLog(state, thread, entries), { news })
  }

  #drawHead(thread) {
    element("room-title").textContent = thread ? titleOf(thread) : "New conversation"
    setText(element("room-agent"), thread?.agent.name)
    element("delete-thread").hidden = !thread
  }

  #drawLog(state, thread, entries) {
    const room = state.rooms.get(state.open)
    setText(element("note"), state.note)
    element("welcome").hidden = state.open !== null || entries.length > 0
    setText(element("log-state"), logState(room, entries))
    element("reload").hidden = !room?.problem
    element("older").hidden = !room?.before
    this.#messages.draw(entries, thread?.agent.name ?? "Agent")
    this.#drawActivity(activity(state), thread)
  }

  #drawActivity(doing, thread) {
    const line = element("activity")
    line.hidden = !doing
    if (!doing) return
    line.dataset.status = doing.status
    const text = part(line, "text")
    const words = describe(doing, thread.agent.name)
    if (text.textContent !== words) text.textContent = words
  }
}

function logState(room, entries) {
  if (!room) return ""
  if (room.problem) return room.problem
  if (!room.loaded) return "Loading messages"
  return entries.length ? "" : "Nothing has been said here yet."
}

function describe({ status, attempts }, agent) {
  if (status === "waiting") return `${agent} has asked a question and waits for your answer`
  return attempts > 1 ? `Trying to reach ${agent}, attempt ${attempts}` : `${agent} is answering`
}
