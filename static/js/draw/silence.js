/** Says that nothing has come for longer than is usual, and what can be done about it. */
import { canNotify } from "../teller.js"
import { part, setText } from "./template.js"
import { roughlyOf } from "./times.js"

export class Silence {
  #box = document.getElementById("silence")
  #tell = part(this.#box, "tell")
  #run = null

  /** `onTell(run_id)` resolves to whether the person will be told. */
  constructor({ onRetry, onWait, onTell }) {
    part(this.#box, "silence-retry").addEventListener("click", () => onRetry())
    part(this.#box, "wait").addEventListener("click", () => onWait(this.#run))
    this.#tell.addEventListener("click", async () => this.#drawTold(await onTell(this.#run)))
    this.#tell.hidden = !canNotify
  }

  /** `doing` as `activity` gives it. */
  draw(doing) {
    const late = doing?.late
    this.#box.hidden = !late
    if (!late) return
    if (this.#run !== doing.run_id) this.#drawTold(null)
    this.#run = doing.run_id
    setText(part(this.#box, "silence-text"), wordsFor(late))
  }

  #drawTold(told) {
    this.#tell.disabled = told === true
    this.#tell.textContent = told ? "You will be told" : "Tell me when it comes"
    setText(part(this.#box, "tell-problem"), told === false ? "Your browser does not let this page notify you." : "")
  }
}

function wordsFor({ after_ms, usual_ms }) {
  const usual = usual_ms ? `, usually ${roughlyOf(usual_ms)}` : ""
  return `No answer after ${roughlyOf(after_ms)}${usual}.`
}
