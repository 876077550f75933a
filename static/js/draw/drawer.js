/** On a narrow window the list of threads is a drawer over the conversation. */
const narrow = matchMedia("(max-width: 760px)")

export class Drawer {
  #sidebar = document.getElementById("sidebar")
  #room = document.getElementById("room")
  #opener = document.getElementById("open-drawer")

  constructor() {
    this.#opener.addEventListener("click", () => this.#set(true))
    document.getElementById("close-drawer").addEventListener("click", () => this.close())
    document.getElementById("drawer-shade").addEventListener("click", () => this.close())
    document.addEventListener("keydown", event => this.#key(event))
    narrow.addEventListener("change", () => this.#set(false))
    this.#set(false)
  }

  #key(event) {
    if (event.key !== "Escape" || !this.#isOpen) return
    event.preventDefault() // it is taken: it shall not stop an answer as well
    this.close()
  }

  close() {
    if (!this.#isOpen) return
    this.#set(false)
    this.#opener.focus()
  }

  get #isOpen() {
    return document.body.dataset.drawer === "open"
  }

  /** What is covered or out of view must not be reached with Tab or be read aloud. */
  #set(open) {
    document.body.dataset.drawer = open ? "open" : "closed"
    this.#opener.setAttribute("aria-expanded", String(open))
    this.#room.inert = open
    this.#sidebar.inert = narrow.matches && !open
    if (open) document.getElementById("close-drawer").focus()
  }
}
