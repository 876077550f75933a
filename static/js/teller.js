/** Notifies a person who asked for it that an answer has come, or will not come. */
const LENGTH = 200 // characters

export class Teller {
  #wanted = new Set() // run ids
  #onTold

  /** `onTold` is called when there is nothing more to wait for. */
  constructor({ onTold }) {
    this.#onTold = onTold
  }

  get waits() {
    return this.#wanted.size > 0
  }

  /** Resolves to whether the browser lets us. */
  async want(run_id) {
    const allowed = (await Notification.requestPermission()) === "granted"
    if (allowed) this.#wanted.add(run_id)
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
