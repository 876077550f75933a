/** Whoever works with the keyboard stays where they are when what had the focus is drawn anew, moves or goes away. */
const LISTS = "#messages, #queue"

/** Draw; then give the focus to what took the place of the element that had it, else to where messages are written. */
export function keepFocus(draw) {
  const held = document.activeElement
  const place = held?.closest(LISTS) && held.matches(":focus-visible") ? placeOf(held) : null
  draw()
  if (!place || isThere(held) || !isFree()) return
  const next = successor(place)
  const isUsable = next && isThere(next) && !next.disabled
  ;(isUsable ? next : document.getElementById("message-text")).focus({ preventScroll: true })
}

function placeOf(element) {
  const list = element.closest(LISTS)
  const index = [...list.children].findIndex(child => child.contains(element))
  return { list, index, id: list.children[index].dataset.id, name: element.dataset.part }
}

/** The same part of the same message, wherever it is now, or of the one that stands in its place. */
function successor({ list, index, id, name }) {
  const items = [...document.querySelectorAll(LISTS)].flatMap(each => [...each.children])
  const item = items.find(each => id && each.dataset.id === id) ?? list.children[index]
  return name ? item?.querySelector(`[data-part="${name}"]`) : null
}

/** The browser takes the focus from what is hidden, but only later. */
function isThere(element) {
  return element.isConnected && element.getClientRects().length > 0
}

/** Has nothing else been given it meanwhile? */
function isFree() {
  return document.activeElement === document.body || !isThere(document.activeElement)
}
