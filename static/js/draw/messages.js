/** Messages, what became of each, and what can be done about it. */
import { copyText } from "./clipboard.js"
import { edit, isEdited } from "./editing.js"
import { Feedback } from "./feedback.js"
import { Growing } from "./growing.js"
import { KeyedList } from "./keyed.js"
import { Parts } from "./parts.js"
import { fillData, fillProse, fillTyped } from "./prose.js"
import { fromTemplate, part, setText } from "./template.js"
import { dayName, fillTime, secondsOf, secondsUntil, timeOfDay } from "./times.js"

const FOLDED = { reasoning: "Reasoning", tool: "Tool", data: "Data" }
const UNSAID = { handoff: "Handed over." } // where the agent has no words for it
const NOTES = { sending: "Sending" }
const RETRY = { run: "Retry", message: "Retry", edit: "Edit", "sign-in": "Sign in" }
const AGAIN = { ASKED: "It will be asked again, beside what was said until now.", QUEUED: "It has not been asked yet." }

export class Messages {
  #list
  #do

  /**
   * `acts` are what a person may do with a message: `retry(kind, key)`, `discard(key)`, `ask(text)`, and awaited ones,
   * `regenerate(id)`, `edit(id, text)`, `showVersion(id)`, `judge(id, feedback)`, `sendNow(id)`, `remove(id)`.
   */
  constructor(list, acts) {
    this.#do = acts
    const make = entry => entry.type === "day" ? fromTemplate("day-template") : this.#make(entry.key)
    this.#list = new KeyedList(list, { make, update: (item, entry) => this.#update(item, entry) })
    setInterval(() => list.querySelectorAll("[data-until]").forEach(drawTimeLeft), 1_000)
  }

  draw(entries, agent) {
    const today = new Date().toDateString()
    this.#list.draw(entries.map(entry => entry.type === "day" ? { ...entry, today } : { ...entry, agent }))
  }

  #make(key) {
    const item = fromTemplate("message-template")
    const on = (name, act) => part(item, name).addEventListener("click", act)
    const id = () => item.dataset.id
    on("retry", () => this.#do.retry(item.dataset.retry, key))
    on("discard", () => this.#do.discard(key))
    on("copy-message", event => copyText(event.currentTarget, item.entry.message.text))
    on("regenerate", () => this.#do.regenerate(id()))
    on("edit", () => this.#edit(item))
    on("previous", () => this.#do.showVersion(item.entry.previous))
    on("next", () => this.#do.showVersion(item.entry.next))
    on("earlier", () => this.#do.showVersion(item.entry.earlier))
    on("send-now", () => this.#do.sendNow(id()))
    on("remove", () => this.#do.remove(id()))
    item.addEventListener("click", event => event.target.matches(".follow-up") && this.#do.ask(event.target.textContent))
    item.feedback = new Feedback(item, (feedback, more) => this.#do.judge(id(), feedback, more))
    return item
  }

  #edit(item) {
    const { message: { id, text }, delivery } = item.entry
    const note = delivery === "queued" ? AGAIN.QUEUED : AGAIN.ASKED
    edit(item, { id, text, note, save: words => this.#do.edit(id, words) })
  }

  #update(item, entry) {
    if (entry.type === "day") return fillTime(part(item, "time"), entry.at, dayName)
    fill(item, entry)
    if (entry.mine && entry.changeable && isEdited(entry.message.id)) this.#edit(item)
  }
}

function fill(item, entry) {
  const { message, mine, delivery, grouped, asks } = entry
  item.entry = entry
  Object.assign(item.dataset, { author: mine ? "person" : "agent", kind: message.kind, delivery, grouped: Boolean(grouped), asks })
  item.dataset.id = message.id
  part(item, "author").textContent = mine ? "You" : asks ? `${entry.agent} asks` : entry.agent
  fillTime(part(item, "time"), message.created_at, timeOfDay)
  part(item, "edited").hidden = !message.edited_at
  fillBody(item, entry)
  if (!mine && message.parts) (item.parts ??= new Parts(item)).draw(message.parts)
  fillState(item, entry)
  fillActions(item, entry)
}

/** Only when the words have changed: an opened `<details>` or a selection in them should survive a change of state. */
function fillBody(item, { message, mine }) {
  const body = part(item, "body")
  if (mine) return fillTyped(body, message.text)
  if (message.kind in FOLDED) return fillFolded(item, body, message)
  item.words ??= new Growing(body.appendChild(proseBox()))
  item.words.show(message.text || (UNSAID[message.kind] ?? ""))
  fillAttached(item, body, message)
}

function proseBox() {
  const box = document.createElement("div")
  box.className = "prose"
  return box
}

function fillAttached(item, body, { data }) {
  const content = JSON.stringify(data ?? null)
  if (item.content === content) return
  item.content = content
  item.attached?.remove()
  item.attached = hasData(data) ? body.appendChild(folded("Data", place => fillData(place, data))) : null
}

function fillFolded(item, body, { kind, text, data }) {
  const content = JSON.stringify([kind, text, data])
  if (item.content === content) return
  item.content = content
  body.replaceChildren(folded(FOLDED[kind], place => {
    if (text) fillProse(place, text)
    if (hasData(data)) fillData(place, data)
  }))
}

function folded(label, fillContent) {
  const aside = fromTemplate("aside-template")
  part(aside, "summary").textContent = label
  fillContent(part(aside, "content"))
  return aside
}

function hasData(data) {
  return data !== null && data !== undefined && Object.keys(data).length > 0
}

function fillState(item, { delivery, stopped, kind, failure, details, retry, until, earlier }) {
  item.dataset.retry = retry ?? ""
  setText(part(item, "note"), NOTES[delivery] ?? (stopped ? "Stopped" : ""))
  const box = part(item, "failure")
  box.hidden = !failure && !(stopped && retry)
  box.dataset.kind = kind ?? "stopped"
  setText(part(item, "reason"), failure ?? "")
  part(item, "failure-details").hidden = !details
  part(item, "failure-text").textContent = details ?? ""
  part(item, "earlier").hidden = !earlier
  part(item, "retry").hidden = !retry
  part(item, "retry").textContent = kind === "limit" ? "Send again" : kind === null && stopped ? "Ask again" : RETRY[retry] ?? ""
  part(item, "discard").hidden = !failure || !retry || retry === "run"
  if (until) box.dataset.until = until
  else delete box.dataset.until
  drawTimeLeft(box)
}

/** What is refused for a while can be sent when that is over; what was lost is sent again by itself. */
function drawTimeLeft(box) {
  const seconds = box.dataset.until ? secondsUntil(Number(box.dataset.until)) : 0
  const isLimit = box.dataset.kind === "limit"
  const left = secondsOf(seconds * 1000)
  const words = seconds ? isLimit ? `You can send it again in ${left}.` : `It is tried again in ${left}.` : ""
  setText(part(box, "time-left"), words || (isLimit ? "You can send it again now." : ""))
  part(box, "retry").disabled = Boolean(seconds) && isLimit
}

function fillActions(item, entry) {
  const { message, mine, delivery, newest, changeable, judgeable, version, versions, previous, next } = entry
  const show = (name, shown) => { part(item, name).hidden = !shown }
  const said = delivery === "sent"
  const queued = delivery === "queued"
  item.dataset.newest = newest
  show("versions", versions > 1)
  part(item, "version").textContent = `${version}/${versions}`
  part(item, "previous").disabled = !previous
  part(item, "next").disabled = !next
  show("copy-message", said && Boolean(message.text) && !(message.kind in FOLDED) && navigator.clipboard)
  show("edit", mine && changeable)
  show("regenerate", !mine && changeable)
  show("thumbs", judgeable)
  show("send-now", queued)
  show("remove", queued)
  if (judgeable) item.feedback.draw(message.feedback ?? null)
  part(item, "actions").hidden = !said && !queued
  fillFollowUps(part(item, "follow-ups"), newest && said ? message.parts?.follow_up_questions ?? [] : [])
}

function fillFollowUps(place, questions) {
  const told = JSON.stringify(questions)
  if (place.told === told) return
  place.told = told
  place.hidden = questions.length === 0
  place.replaceChildren(...questions.map(question => {
    const button = fromTemplate("follow-up-template")
    button.textContent = question
    return button
  }))
}
