import { reduce } from "./interpret/state.js"

const FRAME_MS = 16

/** Holds the state, applies actions to it, and draws soon after: once for many, also while the tab is hidden. */
export class Store {
  #state
  #draw
  #timer = null
  #drawn = -Infinity

  constructor(state, draw) {
    this.#state = state
    this.#draw = draw
  }

  get state() {
    return this.#state
  }

  dispatch(action) {
    this.#state = reduce(this.#state, action)
    this.drawSoon()
  }

  /** A timer, not requestAnimationFrame: that one rests in a hidden tab, and the title would too. */
  drawSoon() {
    this.#timer ??= setTimeout(() => this.#drawNow(), Math.max(0, FRAME_MS - (performance.now() - this.#drawn)))
  }

  #drawNow() {
    this.#timer = null
    this.#drawn = performance.now()
    this.#draw(this.#state)
  }
}
