const SAID_MS = 2_000

/** Copy `text`, and let the button say so for a while; one with a label says it there, and shows that it is done. */
export async function copyText(button, text) {
  await navigator.clipboard.writeText(text)
  const label = button.getAttribute("aria-label")
  const say = words => label ? button.setAttribute("aria-label", words) : button.replaceChildren(words)
  say("Copied")
  button.dataset.done = "true"
  setTimeout(() => {
    say(label ?? "Copy")
    delete button.dataset.done
  }, SAID_MS)
}
