/** How the page is connected: always a quiet word; a panel that explains when it fails again and again. */
import { part, setText } from "./template.js"
import { timeWithSeconds } from "./times.js"

const MANY = 5
const WORDS = {
  connecting: "Connecting",
  connected: "Connected",
  resyncing: "Catching up",
  waiting: "Reconnecting",
  offline: "Offline",
  resting: "Resting",
  signed_out: "Signed out",
}
const GOODBYES = {
  rotate: "Renewing the connection",
  drain: "Server restarting",
  limit: "Server busy",
  auth: "Checking your session",
}
const SLOW = "Connected, slower"
const RENEWED = "Up to date again"
const RENEWED_MS = 6_000

export class ConnectionStatus {
  #line = document.getElementById("connection-status")
  #panel = document.getElementById("connection-panel")
  #slow = document.getElementById("connection-slow")
  #status = null
  #stale = false
  #renewed = null // a timer, for as long as it is said

  constructor({ onRetry, onSignIn }) {
    part(this.#panel, "retry").addEventListener("click", onRetry)
    part(this.#line, "sign-in").addEventListener("click", onSignIn)
    part(this.#panel, "endpoint").textContent = `${location.origin}/stream`
    setInterval(() => this.#drawSeconds(), 1_000)
  }

  draw(status) {
    this.#status = status
    if (status.state === "resyncing") this.#stale = true
    else if (status.state === "connected" && this.#stale) this.#renew()
    this.#line.dataset.state = status.state
    this.#drawWord()
    this.#slow.hidden = !(status.slow && status.state === "connected")
    part(this.#line, "sign-in").hidden = status.state !== "signed_out"
    this.#drawSeconds()
    this.#drawPanel()
  }

  /** What the page held was stale, and all of it was fetched anew: say so, but not for long. */
  #renew() {
    this.#stale = false
    clearTimeout(this.#renewed)
    this.#renewed = setTimeout(() => {
      this.#renewed = null
      this.#drawWord()
    }, RENEWED_MS)
  }

  #drawWord() {
    const { state, reason, slow } = this.#status
    const connected = this.#renewed !== null ? RENEWED : slow ? SLOW : WORDS.connected
    setText(part(this.#line, "word"), state === "connected" ? connected : GOODBYES[reason] ?? WORDS[state])
  }

  #drawSeconds() {
    const { state, retryAt } = this.#status ?? {}
    const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000))
    setText(part(this.#line, "seconds"), state === "waiting" && seconds ? `in ${seconds} s` : "")
  }

  #drawPanel() {
    const { state, failures, attempts, probe } = this.#status
    this.#panel.hidden = failures < MANY || !["waiting", "connecting", "resyncing"].includes(state)
    if (this.#panel.hidden) return
    setText(part(this.#panel, "explanation"), explain(probe))
    part(this.#panel, "probe").textContent = probe ?? "not done yet"
    part(this.#panel, "attempts").replaceChildren(...attempts.map(attemptLine))
  }
}

function explain(probe) {
  const cause = probe?.startsWith("200")
    ? "The server answers, but the live connection breaks off. Something in between, such as a proxy, may be cutting it."
    : "The server does not answer as it should. It may be restarting, or the network may be down."
  return `${cause} What you write stays here. This page keeps trying by itself.`
}

function attemptLine({ at, reason }) {
  const line = document.createElement("li")
  line.textContent = `${timeWithSeconds(at)} ${reason}`
  return line
}
