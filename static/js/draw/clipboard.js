const SAID_MS = 2_000
const labels = new WeakMap() // of buttons that were used, as they were before
const timers = new WeakMap()

/** Copy `text`, and let the button say so for a while; one with a label says it there, and shows that it is done. */
export async function copyText(button, text) {
  await navigator.clipboard.writeText(text)
  const label = labels.get(button) ?? button.getAttribute("aria-label")
  labels.set(button, label)
  const say = words => label ? button.setAttribute("aria-label", words) : button.replaceChildren(words)
  say("Copied")
  button.dataset.done = "true"
  clearTimeout(timers.get(button))
  timers.set(button, setTimeout(() => {
    say(label ?? "Copy")
    delete button.dataset.done
  }, SAID_MS))
}
