/** Keeps the reader's place in the log: at the end if they are there, else exactly where they are. */
const NEAR_PX = 80
const NEAR_TOP_PX = 160

export class Scroll {
  #log = document.getElementById("log")
  #messages = document.getElementById("messages")
  #jump = document.getElementById("jump")
  #sticks = true
  #place = 0 // where we scrolled to, or were scrolled to, last

  constructor({ onNearTop, onEnd }) {
    this.#log.addEventListener("scroll", () => {
      this.#sticks = this.#nearEnd
      this.#place = this.#log.scrollTop
      if (this.#sticks) this.#arrive(onEnd)
      if (this.#log.scrollTop < NEAR_TOP_PX) onNearTop()
    }, { passive: true })
    this.#jump.addEventListener("click", () => this.toEnd({ smoothly: true }))
    // The composer grows, images of a panel come and go, a window turns: the end should stay in view.
    new ResizeObserver(() => this.#sticks && this.toEnd()).observe(this.#log)
  }

  /** Does the reader see what is said as it is said? */
  get follows() {
    return this.#sticks
  }

  get #nearEnd() {
    return this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < NEAR_PX
  }

  /** Draw without losing the place. `news`: something was said that the reader, being elsewhere, does not see. */
  around(draw, { news }) {
    // The browser tells of scrolling a frame later: news that comes in between must not pull a reader back.
    if (this.#log.scrollTop < this.#place && !this.#nearEnd) this.#sticks = false
    const anchor = this.#sticks ? null : this.#firstInView()
    const top = anchor?.getBoundingClientRect().top
    draw()
    if (this.#sticks) this.toEnd()
    else if (anchor?.isConnected) this.#log.scrollTop += anchor.getBoundingClientRect().top - top
    if (news && !this.#sticks) this.#jump.hidden = false
  }

  toEnd({ smoothly = false } = {}) {
    this.#sticks = true
    this.#jump.hidden = true
    this.#log.scrollTo({ top: this.#log.scrollHeight, behavior: smoothly && !calm.matches ? "smooth" : "instant" })
    this.#place = this.#log.scrollTop
  }

  #arrive(onEnd) {
    this.#jump.hidden = true
    onEnd()
  }

  /** A message, not the name of a day: that one moves up when older messages of the same day come. */
  #firstInView() {
    const top = this.#log.getBoundingClientRect().top
    return [...this.#messages.querySelectorAll(".message")].find(item => item.getBoundingClientRect().bottom > top)
  }
}

const calm = matchMedia("(prefers-reduced-motion: reduce)")
