/** The list of threads, newest first, with what is unread in each. */
import { inOrder, unreadIn } from "../interpret/threads.js"
import { KeyedList } from "./keyed.js"
import { fromTemplate, part } from "./template.js"
import { fillTime, timeOrDay } from "./times.js"

const PREVIEW = 200 // characters

export class ThreadList {
  #list
  #empty = document.getElementById("threads-empty")
  #more = document.getElementById("more-threads")
  #newThread = document.getElementById("new-thread")

  /** `onChoose(thread_id)` is called for a plain click; any other click is the browser's, as for every link. */
  constructor({ onChoose, onMore }) {
    const items = document.getElementById("threads")
    this.#list = new KeyedList(items, { make: () => fromTemplate("thread-template"), update: fill })
    this.#more.addEventListener("click", onMore)
    items.addEventListener("click", event => {
      const link = event.target.closest("a")
      if (link && isPlain(event)) choose(event, () => onChoose(link.dataset.id))
    })
    this.#newThread.addEventListener("click", event => isPlain(event) && choose(event, () => onChoose(null)))
  }

  draw(state) {
    const today = new Date().toDateString()
    this.#list.draw(inOrder(state.threads).map(thread => ({ key: thread.id, thread, open: thread.id === state.open, today })))
    this.#empty.hidden = state.threads.size > 0
    this.#more.hidden = !state.threadsNext
    mark(this.#newThread, state.open === null)
  }
}

export function titleOf(thread) {
  return thread.title || thread.agent.name
}

function fill(item, { thread, open }) {
  const link = part(item, "link")
  link.href = `/chat/${thread.id}`
  link.dataset.id = thread.id
  mark(link, open)
  part(item, "title").textContent = titleOf(thread)
  part(item, "last").textContent = preview(thread)
  fillTime(part(item, "time"), thread.updated_at, timeOrDay)
  fillUnread(part(item, "unread"), unreadIn(thread))
}

function preview({ agent, last_message }) {
  if (!last_message) return agent.name
  if (last_message.deleted) return "Message deleted"
  const who = last_message.direction === "incoming" ? "You" : agent.name
  return `${who}: ${withoutMarks(last_message.text.slice(0, PREVIEW)) || last_message.kind}`
}

/** The marks of Markdown are noise in one line of text. */
function withoutMarks(text) {
  return text.replace(/!?\[([^\]]*)\]\([^)]*\)/g, "$1").replace(/^\s*(#+|>|[-*]|```\w*)\s/gm, "").replace(/\*\*|`+/g, "")
}

function fillUnread(badge, count) {
  badge.hidden = count === 0
  part(badge, "count").textContent = count
}

function mark(link, current) {
  if (current) link.setAttribute("aria-current", "page")
  else link.removeAttribute("aria-current")
}

function isPlain(event) {
  return event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey
}

function choose(event, act) {
  event.preventDefault()
  act()
}
