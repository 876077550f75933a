import { reduce } from "./interpret/state.js"

const FRAME_MS = 16
const LUMP_MS = 60 // of an answer's words, which come every 40
const REST = 12 // times as long as drawing took: layout and paint take as much again, and the person may be typing
const LONGEST_MS = 500

/** Holds the state, applies actions to it, and draws soon after: once for many, also while the tab is hidden. */
export class Store {
  #state
  #draw
  #timer = null
  #due = Infinity
  #next = -Infinity // when it may be drawn again
  #nextLump = -Infinity

  constructor(state, draw) {
    this.#state = state
    this.#draw = draw
  }

  get state() {
    return this.#state
  }

  /** `isLump`: one of many that come quickly, such as a few words of an answer. They can wait while drawing is hard. */
  dispatch(action, { isLump = false } = {}) {
    this.#state = reduce(this.#state, action)
    this.drawSoon(isLump ? this.#nextLump : this.#next)
  }

  /** A timer, not requestAnimationFrame: that one rests in a hidden tab, and the title would too. */
  drawSoon(at = this.#next) {
    if (at >= this.#due) return
    clearTimeout(this.#timer)
    this.#due = at
    this.#timer = setTimeout(() => this.#drawNow(), Math.max(0, at - performance.now()))
  }

  #drawNow() {
    this.#due = Infinity
    const began = performance.now()
    this.#draw(this.#state)
    const took = performance.now() - began
    this.#next = began + FRAME_MS
    this.#nextLump = began + took + Math.max(LUMP_MS, Math.min(LONGEST_MS, REST * took))
  }
}
