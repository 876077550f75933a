/** Notifies a person who asked for it that an answer has come, or will not come. */
const LENGTH = 200 // characters
const LONGEST_MS = 60 * 60_000 // the end of an answer may pass unheard: then it is not waited for ever

/** Chrome for Android has notifications, but not from a page. */
export const canNotify = "Notification" in globalThis && !/Android/.test(navigator.userAgent)

export class Teller {
  #wanted = new Map() // since when, by run id
  #onTold

  /** `onTold` is called when there is nothing more to wait for. */
  constructor({ onTold }) {
    this.#onTold = onTold
  }

  get waits() {
    return [...this.#wanted.values()].some(since => Date.now() - since < LONGEST_MS)
  }

  /** Resolves to whether the browser lets us. */
  async want(run_id) {
    const allowed = (await Notification.requestPermission()) === "granted"
    if (allowed) this.#wanted.set(run_id, Date.now())
    return allowed
  }

  /** The answer of this run is there, or there will be none. */
  tell(run_id, agent, text) {
    if (!this.#wanted.delete(run_id)) return
    const notification = new Notification(agent, { body: text.slice(0, LENGTH), tag: run_id })
    notification.addEventListener("click", () => {
      window.focus()
      notification.close()
    })
    if (!this.waits) this.#onTold()
  }
}
