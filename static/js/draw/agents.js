/** The choice of whom to ask, where there is one. */
import { fromTemplate, part } from "./template.js"

export class AgentChoice {
  #fieldset = document.getElementById("agents")
  #agents

  constructor(agents) {
    this.#agents = agents
    this.#fieldset.hidden = agents.length < 2
    this.#fieldset.append(...agents.map(choice))
    const first = this.#fieldset.querySelector("input")
    if (first) first.checked = true
  }

  get chosen() {
    return this.#fieldset.querySelector("input:checked")?.value ?? this.#agents[0]?.id
  }
}

function choice(agent) {
  const label = fromTemplate("agent-template")
  label.querySelector("input").value = agent.id
  part(label, "name").textContent = agent.name
  return label
}
