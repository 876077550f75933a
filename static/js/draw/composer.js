/**
 * Where a message is written, and an answer stopped. Keeps a draft for each thread; says how much room is left when there
 * is little.
 */
import { activity } from "../interpret/timeline.js"

const NEARLY = 0.9

export class Composer {
  #form = document.getElementById("composer")
  #text = document.getElementById("message-text")
  #count = document.getElementById("composer-count")
  #full = document.getElementById("composer-full")
  #send = document.querySelector("#composer .send")
  #stop = document.getElementById("stop")
  #drafts
  #limit
  #onSay
  #thread
  #nobody = false // is there no one to ask?
  #running = null // the id of the run that can be stopped

  /** `limit` is counted in characters as the server counts them: code points. */
  constructor({ drafts, limit, onSay, onStop }) {
    this.#drafts = drafts
    this.#limit = limit
    this.#onSay = onSay
    this.#text.addEventListener("input", () => this.#typed())
    this.#text.addEventListener("keydown", event => this.#key(event))
    this.#form.addEventListener("submit", event => {
      event.preventDefault()
      this.#submit()
    })
    const stop = () => this.#running && onStop(this.#running)
    this.#stop.addEventListener("click", () => {
      stop()
      this.focus() // the button goes away
    })
    document.addEventListener("keydown", event => isFreeEscape(event) && stop())
  }

  /** Show the draft of the thread that is open now. What was typed in one that is gone begins a new one. */
  draw(state) {
    this.#nobody = state.open === null && state.agents.length === 0
    this.#drawDoing(activity(state), state.threads.get(state.open))
    if (this.#thread === state.open) return
    const early = this.#thread === undefined ? this.#text.value : "" // typed before this script had loaded
    if (state.gone.has(this.#thread)) this.#drafts.move(this.#thread, null)
    this.#thread = state.open
    this.#fill(early || this.#drafts.of(state.open))
    if (early) this.#typed()
  }

  /** Words that could not be sent stand before those typed since. */
  takeBack(text) {
    this.#fill([text, this.#text.value].filter(Boolean).join("\n"))
    this.#typed()
    this.focus()
  }

  focus() {
    this.#text.focus({ preventScroll: true })
  }

  #drawDoing(doing, thread) {
    this.#running = doing?.status === "answering" ? doing.run_id : null
    this.#text.placeholder = doing?.status === "waiting" ? `Answer ${thread.agent.name}` : "Write a message"
    this.#drawButtons()
  }

  /** Stop stands in the place of Send, until there is something to send as well. */
  #drawButtons() {
    this.#stop.hidden = !this.#running
    this.#send.hidden = Boolean(this.#running) && !this.#text.value.trim()
  }

  #typed() {
    this.#drafts.keep(this.#thread, this.#text.value)
    this.#measure()
  }

  #key(event) {
    if (event.key !== "Enter" || event.shiftKey || composes(event)) return
    event.preventDefault()
    this.#submit()
  }

  #submit() {
    const text = this.#text.value.trim()
    if (!text || this.#left() < 0 || this.#nobody) return
    const thread = this.#thread
    this.#fill("")
    this.#drafts.keep(thread, "")
    this.#onSay(text)
    this.focus()
  }

  #fill(text) {
    this.#text.value = text
    this.#measure()
  }

  #measure() {
    this.#grow()
    const left = this.#left()
    this.#count.hidden = left > this.#limit * (1 - NEARLY)
    this.#count.textContent = left < 0 ? `${characters(-left)} too many` : `${characters(left)} left`
    const words = left < 0 ? "The message is too long" : this.#count.hidden ? "" : "There is little room left"
    if (this.#full.textContent !== words) this.#full.textContent = words // said aloud once, not with every key
    this.#form.dataset.over = left < 0
    this.#drawButtons()
    this.#send.disabled = left < 0 || this.#nobody || !this.#text.value.trim()
  }

  #grow() {
    this.#text.style.height = "auto"
    this.#text.style.height = `${this.#text.scrollHeight}px`
  }

  #left() {
    return this.#limit - [...this.#text.value.trim()].length
  }
}

/** Is there nothing open that Escape would close? One that is held down is one. */
function isFreeEscape(event) {
  const isTaken = event.defaultPrevented || event.repeat || composes(event) || document.querySelector("dialog[open]")
  return event.key === "Escape" && !isTaken
}

/** While an input method composes, Enter takes a word and Escape drops it; Safari tells so only by the key code 229. */
function composes(event) {
  return event.isComposing || event.keyCode === 229
}

function characters(number) {
  return `${number.toLocaleString("en")} ${number === 1 ? "character" : "characters"}`
}
