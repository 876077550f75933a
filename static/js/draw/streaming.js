/** The switch "Stream answers": off, answers are shown when they are whole. Kept for this browser. */
const KEY = "backchannel:stream"

export class Streaming {
  #box = document.getElementById("stream-answers")

  constructor({ onChange }) {
    this.#box.checked = localStorage.getItem(KEY) !== "off"
    this.#box.addEventListener("change", () => {
      localStorage.setItem(KEY, this.#box.checked ? "on" : "off")
      onChange(this.#box.checked)
    })
  }

  get on() {
    return this.#box.checked
  }
}
