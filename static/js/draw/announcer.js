/** Says aloud, for those who listen to the page, what was just said in the open conversation. */
const LENGTH = 300
const KEPT = 5

export class Announcer {
  #log = document.getElementById("announcer")

  say(text) {
    const line = document.createElement("p")
    line.textContent = text.slice(0, LENGTH)
    this.#log.append(line)
    while (this.#log.children.length > KEPT) this.#log.firstElementChild.remove()
  }
}
