/** Tells a connection what the browser knows: the network came or went, the page is looked at, left or woken. */
const HIDDEN_MS = 30_000

/** `mayRest()` says whether a page that nobody looks at may let go of its connection. */
export function listenForWakes(connection, mayRest = () => true) {
  let leaving = null

  function attend() {
    clearTimeout(leaving)
    if (document.hidden) leaving = setTimeout(() => mayRest() && connection.rest(), HIDDEN_MS)
    else connection.wake()
  }

  document.addEventListener("visibilitychange", attend)
  // An open stream keeps a page out of the back/forward cache, and a page taken from there has a dead one.
  addEventListener("pagehide", () => connection.rest())
  addEventListener("pageshow", event => event.persisted && connection.wake())
  addEventListener("online", () => document.hidden || connection.wake())
  addEventListener("offline", () => connection.offline())
  attend() // a tab opened in the background never changes its visibility until it is looked at
}
