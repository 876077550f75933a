/** The two dialogs of the page: one asks before deleting, one signs in again in place. */
import { part, setText } from "./template.js"

export class ConfirmDelete {
  #dialog = document.getElementById("confirm-delete")
  #delete
  #onDeleted

  /** `onDeleted` is called once the dialog has closed: closing gives the focus back to a button that is gone. */
  constructor({ onDeleted }) {
    this.#onDeleted = onDeleted
    part(this.#dialog, "delete").addEventListener("click", () => this.#confirm())
  }

  /** Ask; `act` is awaited when the person agrees, and what it fails with is shown in the dialog. */
  ask(title, act) {
    this.#delete = act
    part(this.#dialog, "title").textContent = title
    setText(part(this.#dialog, "error"), "")
    this.#dialog.showModal()
  }

  async #confirm() {
    try {
      await this.#delete()
      this.#dialog.close()
      this.#onDeleted()
    } catch (error) {
      setText(part(this.#dialog, "error"), error.message)
    }
  }
}

export class SignIn {
  #dialog = document.getElementById("sign-in")
  #form = this.#dialog.querySelector("form")
  #signIn

  /** `signIn(name, password)` is awaited; what it fails with is shown in the dialog. */
  constructor(signIn) {
    this.#signIn = signIn
    part(this.#dialog, "later").addEventListener("click", () => this.#dialog.close())
    this.#form.addEventListener("submit", event => {
      event.preventDefault()
      this.#submit()
    })
  }

  open() {
    if (this.#dialog.open) return
    setText(part(this.#dialog, "error"), "")
    this.#dialog.showModal()
    const { name, password } = this.#form.elements
    for (const field of name.value ? [password] : [name]) field.focus()
  }

  close() {
    if (!this.#dialog.open) return
    this.#form.elements.password.value = ""
    this.#dialog.close()
  }

  async #submit() {
    const { name, password } = this.#form.elements
    part(this.#dialog, "submit").disabled = true
    try {
      await this.#signIn(name.value, password.value)
    } catch (error) {
      setText(part(this.#dialog, "error"), error.message)
      password.select()
    } finally {
      part(this.#dialog, "submit").disabled = false
    }
  }
}
