/** What stands beside an answer: how it came about above its words, what it rests on below them. */
import { Growing } from "./growing.js"
import { KeyedList } from "./keyed.js"
import { fillData } from "./prose.js"
import { fromTemplate, part, setText } from "./template.js"
import { secondsOf } from "./times.js"

const SAFE_LINK = /^https?:/i
const NOTHING = Object.freeze({})
const STATES = { running: "running", error: "failed" }

/** The places of one message for what stands beside its text. Each is drawn only if it has changed. */
export class Parts {
  #item
  #reasoning
  #steps
  #tools
  #sources
  #shown = NOTHING

  constructor(item) {
    this.#item = item
    this.#reasoning = new Growing(part(item, "reasoning-text"))
    this.#steps = new KeyedList(part(item, "steps-list"), { make: () => document.createElement("li"), update: fillStep })
    this.#tools = new KeyedList(part(item, "tools"), { make: () => fromTemplate("tool-template"), update: fillTool })
    this.#sources = new KeyedList(part(item, "sources-list"), { make: makeSource, update: fillSource })
  }

  /** `parts` may be null. */
  draw(parts) {
    const { reasoning = "", stages = [], tools = [], sources = [], quality_score, model, usage } = parts ?? NOTHING
    const before = this.#shown
    this.#shown = parts ?? NOTHING
    if (reasoning !== before.reasoning) this.#drawReasoning(reasoning)
    if (stages !== before.stages) this.#drawSteps(stages)
    if (tools !== before.tools) this.#tools.draw(numbered(tools, "tool"))
    if (sources !== before.sources) this.#drawSources(sources)
    drawScore(part(this.#item, "score"), quality_score)
    drawUsage(part(this.#item, "usage"), usageOf(model, usage))
  }

  #drawReasoning(text) {
    part(this.#item, "reasoning").hidden = !text
    this.#reasoning.show(text)
  }

  #drawSteps(stages) {
    const over = stages.filter(({ duration_ms }) => duration_ms !== undefined)
    const total = over.reduce((sum, { duration_ms }) => sum + duration_ms, 0)
    part(this.#item, "steps").hidden = over.length === 0
    part(this.#item, "steps-title").textContent = `${over.length} ${over.length === 1 ? "step" : "steps"}, ${secondsOf(total)}`
    this.#steps.draw(numbered(over, "stage"))
  }

  #drawSources(sources) {
    part(this.#item, "sources").hidden = sources.length === 0
    this.#sources.draw(sources.map((source, index) => ({ key: `${index} ${hasMore(source)}`, source })))
  }
}

function numbered(things, name) {
  return things.map((thing, index) => ({ key: index, [name]: thing }))
}

function fillStep(item, { stage }) {
  item.textContent = `${stage.name}, ${secondsOf(stage.duration_ms)}`
}

/** A tool is told anew with every change of any: only what differs is drawn, so that an opened one stays as it is. */
function fillTool(item, { tool }) {
  const told = JSON.stringify(tool)
  if (item.told === told) return
  item.told = told
  const { name, status = "running", input, output } = tool
  part(item, "tool-name").textContent = name
  setText(part(item, "tool-state"), STATES[status])
  item.dataset.status = status
  const details = part(item, "tool-details")
  details.replaceChildren()
  for (const [title, data] of [["Input", input], ["Output", output]]) if (data !== undefined && data !== null) addData(details, title, data)
}

function addData(details, title, data) {
  const heading = document.createElement("p")
  heading.textContent = title
  details.append(heading)
  fillData(details, data)
}

/** Is there anything to fold open but the title? */
function hasMore({ url = "", text, score }) {
  return Boolean(text) || SAFE_LINK.test(url) || typeof score === "number"
}

function makeSource({ source }) {
  return fromTemplate(hasMore(source) ? "source-template" : "bare-source-template")
}

function fillSource(item, { source }) {
  const { title, url = "", text, score } = source
  const name = part(item, "source-title")
  name.textContent = title || hostOf(url) || "Untitled"
  name.title = name.textContent // it may be cut
  if (!hasMore(source)) return
  setText(part(item, "source-text"), text)
  setText(part(item, "source-score"), typeof score === "number" ? `Relevance ${percent(score)}` : "")
  const link = part(item, "source-link")
  link.hidden = !SAFE_LINK.test(url)
  if (link.hidden) return
  link.href = url
  link.textContent = `Open ${hostOf(url)}`
}

function hostOf(url) {
  return URL.canParse(url) ? new URL(url).host : url
}

function drawScore(badge, score) {
  setText(badge, typeof score === "number" ? percent(score) : "")
  badge.title = badge.hidden ? "" : `Quality score: ${badge.textContent}`
}

function percent(share) {
  return `${Math.round(share * 100)} %`
}

/** What it cost is said on hover, on focus, and as the button's name. */
function drawUsage(button, text) {
  button.hidden = !text
  button.setAttribute("aria-label", `About this answer: ${text}`)
  part(button, "usage-text").textContent = text
}

/** An agent may have told of the one and not yet, or never, of the other. */
function usageOf(model, usage) {
  const { input_tokens, output_tokens, total_tokens } = usage ?? NOTHING
  const total = total_tokens ?? ((input_tokens ?? 0) + (output_tokens ?? 0) || undefined)
  const ways = [input_tokens !== undefined && `${tokens(input_tokens)} in`, output_tokens !== undefined && `${tokens(output_tokens)} out`]
  const both = ways.filter(Boolean).join(", ")
  return [model, total !== undefined && `${tokens(total)} tokens${both && ` (${both})`}`].filter(Boolean).join(" · ")
}

function tokens(number) {
  return number.toLocaleString("en")
}
