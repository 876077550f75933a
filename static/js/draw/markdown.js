/**
 * Markdown from an agent, as a fragment that is safe to show (P64). What an agent writes is not trusted: its HTML is
 * shown as the text it is, its images as links, so that reading an answer never runs anything and asks nobody.
 */
import DOMPurify from "../vendor/dompurify-3.4.18.js"
import { Marked } from "../vendor/marked-18.2.1.js"

const OUTER_HEADING = 2 // a message stands under the page's own h1 and h2
const TAGS = "a blockquote br code del em h3 h4 h5 h6 hr li ol p pre strong table tbody td th thead tr ul".split(" ")
const SAFE_LINK = /^(?:https?:|mailto:)/i
const LONGEST = 64 * 1024 // characters
const MARKS = 4_000 // the parser's time grows with their square
const NESTED = /^(?:[ \t]*(?:>|(?:[-+*]|\d{1,9}[.)])[ \t])){50}/m // quotes and lists that begin in one line
const RULES = {
  ALLOWED_TAGS: TAGS,
  ALLOWED_ATTR: ["href", "title", "class", "start", "align"],
  ALLOWED_URI_REGEXP: SAFE_LINK,
  ADD_URI_SAFE_ATTR: ["start", "align"], // their values are no addresses and need not look like safe ones
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_TRUSTED_TYPE: true,
}

const marked = new Marked({ gfm: true, breaks: true })
marked.use({
  renderer: {
    heading({ tokens, depth }) {
      const level = Math.min(6, depth + OUTER_HEADING)
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>\n`
    },
    html({ text, block }) {
      if (/^<br ?\/?>$/i.test(text.trim())) return "<br>"
      return block ? `<pre><code>${escape(text)}</code></pre>` : escape(text)
    },
    image: ({ href, text }) => link(href, escape(text || href)),
    link({ href, tokens }) {
      return link(href, this.parser.parseInline(tokens))
    },
    checkbox: ({ checked }) => checked ? "☑ " : "☐ ",
  },
})

DOMPurify.addHook("afterSanitizeAttributes", element => {
  if (element.tagName !== "A" || !element.hasAttribute("href")) return
  element.target = "_blank"
  element.rel = "noopener noreferrer nofollow"
})

/** Null if it fails or would take too long: one message must never take the page and the others with it. */
export function renderMarkdown(text) {
  if (isTooMuch(text)) return null
  try {
    const template = document.createElement("template")
    template.innerHTML = DOMPurify.sanitize(marked.parse(text), RULES)
    return template.content
  } catch (error) {
    console.warn("Shown as it was written:", error)
    return null
  }
}

/** The text cut into its outermost blocks, each with the blank lines behind it; together they are the text again. */
export function blocksOf(text) {
  const blocks = []
  for (const { type, raw } of tokensOf(text)) {
    if (type === "space" && blocks.length) blocks[blocks.length - 1] += raw
    else blocks.push(raw)
  }
  return blocks.join("") === text ? blocks : [text] // the parser may have read tabs as blanks
}

/** None if it fails or would take too long. */
function tokensOf(text) {
  try {
    return isTooMuch(text) ? [] : [...marked.lexer(text)]
  } catch {
    return [] // as it is drawn it fails again, and then it is said
  }
}

function isTooMuch(text) {
  return text.length > LONGEST || text.match(/[*_~!]/g)?.length > MARKS || NESTED.test(text)
}

/** A link without a safe address is only its text. */
function link(href, content) {
  return SAFE_LINK.test(href) ? `<a href="${escape(href)}">${content}</a>` : content
}

/** Leaves entities alone: the Markdown may have them already. */
function escape(text) {
  const entities = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" }
  return text.replace(/[<>"']|&(?!#?\w+;)/g, character => entities[character])
}
