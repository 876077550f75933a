/** Changes in place what a person said. What they have written outlives its form, which goes when its message is drawn elsewhere. */
import { fromTemplate, part, setText } from "./template.js"

const written = new Map() // by message id

/** Is this message being changed? */
export function isEdited(id) {
  return written.has(id)
}

/**
 * Show the form below `item`'s paper instead of the words of message `id`. `save(text)` is awaited; what it fails with is
 * shown.
 */
export function edit(item, { id, text, note, save }) {
  if (item.dataset.editing) return
  const form = fromTemplate("edit-template")
  const field = part(form, "edit-text")
  const wasEdited = written.has(id)
  const close = () => {
    written.delete(id)
    form.remove()
    delete item.dataset.editing
  }
  const cancel = () => {
    close()
    part(item, "edit").focus()
  }
  item.dataset.editing = "true"
  part(form, "edit-note").textContent = note
  field.value = written.get(id) ?? text
  written.set(id, field.value)
  form.addEventListener("submit", event => {
    event.preventDefault()
    submit(form, field, save, close)
  })
  form.addEventListener("keydown", event => key(event, form, cancel))
  field.addEventListener("input", () => {
    written.set(id, field.value)
    grow(field)
  })
  part(form, "edit-cancel").addEventListener("click", cancel)
  part(item, "paper").after(form)
  if (wasEdited) return requestAnimationFrame(() => grow(field)) // once it is on the page again
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
