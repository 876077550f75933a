/** The messages of the open conversation and what became of each. */
import { KeyedList } from "./keyed.js"
import { fillData, fillProse, fillTyped } from "./prose.js"
import { fromTemplate, part, setText } from "./template.js"
import { dayName, fillTime, timeOfDay } from "./times.js"

const FOLDED = { reasoning: "Reasoning", tool: "Tool", data: "Data" }

export class Messages {
  #list

  /** `onRetry(kind, key)`: "message" sends again, "edit" gives the text back, "run" asks the agent again. */
  constructor({ onRetry, onDiscard }) {
    const make = entry => entry.type === "day" ? fromTemplate("day-template") : this.#make(entry.key, { onRetry, onDiscard })
    this.#list = new KeyedList(document.getElementById("messages"), { make, update })
  }

  draw(entries, agent) {
    const today = new Date().toDateString()
    this.#list.draw(entries.map(entry => entry.type === "day" ? { ...entry, today } : { ...entry, agent }))
  }

  #make(key, { onRetry, onDiscard }) {
    const item = fromTemplate("message-template")
    part(item, "retry").addEventListener("click", () => onRetry(item.dataset.retry, key))
    part(item, "discard").addEventListener("click", () => onDiscard(key))
    return item
  }
}

function update(item, entry) {
  if (entry.type === "day") fillTime(part(item, "time"), entry.at, dayName)
  else fill(item, entry)
}

function fill(item, entry) {
  const { message, mine, delivery, grouped } = entry
  Object.assign(item.dataset, { author: mine ? "person" : "agent", kind: message.kind, delivery, grouped })
  item.dataset.id = message.id
  part(item, "author").textContent = mine ? "You" : entry.agent
  fillTime(part(item, "time"), message.created_at, timeOfDay)
  part(item, "edited").hidden = !message.edited_at
  fillBody(item, entry)
  fillState(item, entry)
}

/** Only when the words have changed: an opened `<details>` or a selection in them should survive a change of state. */
function fillBody(item, { message, mine }) {
  const content = JSON.stringify([message.kind, message.text, message.data])
  if (item.content === content) return
  item.content = content
  const body = part(item, "body")
  body.replaceChildren()
  body.className = mine ? "message-body typed" : "message-body prose"
  if (mine) fillTyped(body, message.text)
  else if (message.kind in FOLDED) fillFolded(body, message)
  else fillOpen(body, message)
}

function fillOpen(body, message) {
  if (message.text) fillProse(body, message.text)
  if (hasData(message)) body.append(folded("Data", content => fillData(content, message.data)))
}

function fillFolded(body, message) {
  const label = FOLDED[message.kind]
  body.append(folded(label, content => {
    if (message.text) fillProse(content, message.text)
    if (hasData(message)) fillData(content, message.data)
  }))
}

function folded(label, fillContent) {
  const aside = fromTemplate("aside-template")
  part(aside, "summary").textContent = label
  fillContent(part(aside, "content"))
  return aside
}

function hasData({ data }) {
  return data !== null && data !== undefined && Object.keys(data).length > 0
}

function fillState(item, { delivery, stopped, failure, retry }) {
  item.dataset.retry = retry ?? ""
  setText(part(item, "note"), delivery === "sending" ? "Sending" : stopped ? "Stopped" : "")
  part(item, "failure").hidden = !failure
  part(item, "reason").textContent = failure ?? ""
  part(item, "retry").hidden = !retry
  part(item, "retry").textContent = retry === "edit" ? "Edit" : "Retry"
  part(item, "discard").hidden = !retry || retry === "run"
}
