/**
 * No module runs if one of them could not be fetched, as when the network changes while the page comes. Then this says
 * so, and loads the page anew. A plain script, so that it runs all the same.
 */
const PAUSE_MS = 5_000

addEventListener("error", ({ target }) => {
  if (!(target instanceof HTMLScriptElement)) return
  const line = document.getElementById("connection-status")
  line.dataset.state = "waiting"
  line.querySelector("[data-part=word]").textContent = "Could not be loaded, trying again"
  setTimeout(() => location.reload(), PAUSE_MS * (1 + Math.random())) // many pages must not come back as one
}, true) // such an error does not bubble
