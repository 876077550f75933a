/** What a person thinks of an answer: a thumb at once, more of it in a small form. Both may be changed. */
import { fromTemplate, part, setText } from "./template.js"

export class Feedback {
  #item
  #judge
  #given = null
  #form = null

  /** `judge({rating, category, comment})` is awaited; what it fails with is shown in the form. */
  constructor(item, judge) {
    this.#item = item
    this.#judge = judge
    part(item, "up").addEventListener("click", () => this.#rate("up"))
    part(item, "down").addEventListener("click", () => this.#rate("down"))
    part(item, "say-why").addEventListener("click", () => this.#form ? this.#close() : this.#open(thumbOf(this.#given)))
  }

  /** `given` may be null. */
  draw(given) {
    this.#given = given
    const thumb = thumbOf(given)
    for (const name of ["up", "down"]) part(this.#item, name).setAttribute("aria-pressed", String(thumb === name))
    part(this.#item, "say-why").hidden = !given
    if (!given) this.#close()
  }

  /** The same thumb again takes it back. */
  async #rate(rating) {
    const isBack = thumbOf(this.#given) === rating
    const { category = "", comment = "" } = this.#given ?? {}
    const judged = await this.#judge(isBack ? { rating: null } : { rating, category, comment }).then(() => true, () => false)
    if (judged && !isBack) this.#open(rating)
  }

  /** Meanwhile they may have gone on to write something else. */
  get #isHere() {
    return document.activeElement === document.body || this.#item.contains(document.activeElement)
  }

  #open(rating) {
    this.#form ??= this.#make()
    this.#form.dataset.rating = rating ?? ""
    this.#form.elements.category.value = this.#given?.category ?? ""
    this.#form.elements.comment.value = this.#given?.comment ?? ""
    part(this.#item, "actions").after(this.#form)
    part(this.#item, "say-why").setAttribute("aria-expanded", "true")
    this.#form.scrollIntoView({ block: "nearest" })
    if (this.#isHere) this.#form.elements.comment.focus({ preventScroll: true })
  }

  #make() {
    const form = fromTemplate("feedback-template")
    form.addEventListener("submit", event => {
      event.preventDefault()
      this.#submit()
    })
    form.addEventListener("keydown", event => {
      if (event.key !== "Escape" || event.isComposing) return
      event.preventDefault()
      this.#leave()
    })
    part(form, "feedback-close").addEventListener("click", () => this.#leave())
    return form
  }

  async #submit() {
    const { category, comment } = this.#form.elements
    try {
      await this.#judge({ rating: this.#given.rating, category: category.value, comment: comment.value.trim() }, { quietly: true })
      this.#leave()
    } catch (error) {
      setText(part(this.#form, "feedback-error"), error.message)
    }
  }

  #leave() {
    this.#close()
    part(this.#item, "say-why").focus()
  }

  #close() {
    this.#form?.remove()
    this.#form = null
    part(this.#item, "say-why").setAttribute("aria-expanded", "false")
  }
}

/** Other clients give one to five stars. */
function thumbOf(feedback) {
  const rating = feedback?.rating
  if (typeof rating !== "number") return rating ?? null
  return rating > 3 ? "up" : rating < 3 ? "down" : null
}
