/** Changes in place what a person said. */
import { fromTemplate, part, setText } from "./template.js"

/** Show the form below `item`'s paper instead of its words. `save(text)` is awaited; what it fails with is shown. */
export function edit(item, { text, note, save }) {
  if (item.dataset.editing) return
  const form = fromTemplate("edit-template")
  const field = part(form, "edit-text")
  const close = () => {
    form.remove()
    delete item.dataset.editing
  }
  const cancel = () => {
    close()
    part(item, "edit").focus()
  }
  item.dataset.editing = "true"
  part(form, "edit-note").textContent = note
  field.value = text
  form.addEventListener("submit", event => {
    event.preventDefault()
    submit(form, field, save, close)
  })
  form.addEventListener("keydown", event => key(event, form, cancel))
  field.addEventListener("input", () => grow(field))
  part(form, "edit-cancel").addEventListener("click", cancel)
  part(item, "paper").after(form)
  grow(field)
  field.focus()
  field.setSelectionRange(text.length, text.length)
}

async function submit(form, field, save, close) {
  const text = field.value.trim()
  const button = part(form, "edit-save")
  if (!text || button.disabled) return
  button.disabled = true
  try {
    await save(text)
    close()
  } catch (error) {
    setText(part(form, "edit-error"), error.message)
  } finally {
    button.disabled = false
  }
}

function key(event, form, cancel) {
  if (event.isComposing || event.keyCode === 229) return
  if (event.key === "Escape") {
    event.preventDefault()
    cancel()
  } else if (event.key === "Enter" && !event.shiftKey && event.target.matches("textarea")) {
    event.preventDefault()
    form.requestSubmit()
  }
}

function grow(field) {
  field.style.height = "auto"
  field.style.height = `${field.scrollHeight}px`
}
