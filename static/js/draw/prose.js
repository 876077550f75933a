/** Puts what was said into its place: a person's words as they were typed, an agent's as Markdown, data as JSON. */
import { copyText } from "./clipboard.js"
import { renderMarkdown } from "./markdown.js"
import { fromTemplate, part } from "./template.js"

// What stands in the direction of its own words. Code does not.
const TEXT = "p, h1, h2, h3, h4, h5, h6, ul, ol, blockquote, table"

export function fillTyped(body, text) {
  body.classList.add("typed")
  body.dir = "auto"
  if (body.textContent !== text) body.textContent = text
}

export function fillProse(body, text) {
  body.replaceChildren(renderMarkdown(text) ?? asTyped(text))
  for (const block of body.querySelectorAll(TEXT)) block.dir = "auto"
  for (const block of body.querySelectorAll("pre")) frameCode(block)
  for (const table of body.querySelectorAll("table")) frameTable(table)
}

export function fillData(body, data) {
  const code = document.createElement("code")
  code.textContent = JSON.stringify(data, null, 2)
  const block = document.createElement("pre")
  block.append(code)
  body.append(block)
  frameCode(block)
}

function asTyped(text) {
  const paragraph = document.createElement("p")
  paragraph.className = "typed"
  paragraph.textContent = text
  return paragraph
}

/** A bar with the language and a button to copy. What scrolls sideways must be reachable with the keyboard too. */
function frameCode(block) {
  const frame = fromTemplate("code-template")
  block.replaceWith(frame)
  block.tabIndex = 0
  frame.append(block)
  part(frame, "language").textContent = /language-(\S+)/.exec(block.firstElementChild?.className)?.[1] ?? ""
  const copy = part(frame, "copy")
  copy.hidden = !navigator.clipboard // plain http to another machine
  copy.addEventListener("click", () => copyText(copy, block.textContent))
}

function frameTable(table) {
  const frame = document.createElement("div")
  frame.className = "table-frame"
  frame.tabIndex = 0
  table.replaceWith(frame)
  frame.append(table)
}
