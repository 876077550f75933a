/** Says above the composer why what a person just did could not be done, and offers what may help. */
import { kindOf, wordsOf } from "../interpret/failures.js"
import { part, setText } from "./template.js"
import { secondsOf, secondsUntil } from "./times.js"

const HELPLESS = new Set(["refused", "session"])

export class Trouble {
  #box = document.getElementById("trouble")
  #again = part(this.#box, "trouble-again")
  #until = null
  #act = null

  /** `onLeft` is called when a button that had the keyboard's focus goes away. */
  constructor({ onLeft }) {
    const on = (button, act) => button.addEventListener("click", () => {
      const had = button.matches(":focus-visible")
      act()
      if (had) onLeft()
    })
    on(this.#again, () => this.#act())
    on(part(this.#box, "trouble-close"), () => this.hide())
    setInterval(() => this.#drawTimeLeft(), 1_000)
  }

  /** `again()` does the same once more. */
  show(error, again) {
    this.#act = again
    this.#until = error.until ?? null
    this.#box.hidden = false
    this.#again.hidden = HELPLESS.has(kindOf(error))
    setText(part(this.#box, "trouble-text"), wordsOf(error))
    this.#drawTimeLeft()
  }

  hide() {
    this.#box.hidden = true
  }

  #drawTimeLeft() {
    const seconds = this.#until ? secondsUntil(this.#until) : 0
    this.#again.disabled = seconds > 0
    setText(part(this.#box, "trouble-time"), seconds ? `Again in ${secondsOf(seconds * 1000)}.` : "")
  }
}
