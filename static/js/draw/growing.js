/**
 * Markdown drawn as it is written: blocks that are finished are left alone, only the last is drawn anew. So nothing
 * flickers, a selection stays, and the cost of a word does not grow with the text.
 */
import { blocksOf } from "./markdown.js"
import { fillProse } from "./prose.js"

// Of a link, which any block of the text may use. Bounded, as CommonMark bounds it: else the time grew with the square of the text.
const DEFINITION = /^ {0,3}\[[^\]\n]{1,999}\]:/m

export class Growing {
  #body
  #done = "" // the text of the finished blocks
  #last = null // the element of the block that still grows
  #lastText = ""
  #whole = false // is all of it one block?

  constructor(body) {
    this.#body = body
  }

  /** Show `text`. If it does not go on from what is shown, all is drawn anew. */
  show(text) {
    const whole = DEFINITION.test(text)
    if (whole !== this.#whole || !text.startsWith(this.#done)) this.#clear()
    this.#whole = whole
    const rest = text.slice(this.#done.length)
    const blocks = whole ? [rest] : blocksOf(rest)
    for (const block of blocks.slice(0, -1)) this.#finish(block)
    this.#fillLast(blocks.at(-1) ?? "")
  }

  #finish(block) {
    this.#fillLast(block)
    this.#done += block
    this.#last = null
  }

  #fillLast(text) {
    if (!text) return this.#dropLast()
    if (this.#last && this.#lastText === text) return
    this.#last ??= this.#body.appendChild(newBlock())
    this.#lastText = text
    fillProse(this.#last, text)
  }

  #dropLast() {
    this.#last?.remove()
    this.#last = null
  }

  #clear() {
    this.#body.replaceChildren()
    this.#done = ""
    this.#last = null
  }
}

function newBlock() {
  const block = document.createElement("div")
  block.className = "block"
  return block
}
