/** The title of the tab and the dot on the menu button: how much is unread. */
import { unreadIn, unreadInAll } from "../interpret/threads.js"
import { setText } from "./template.js"

const dot = document.getElementById("drawer-unread")

export function drawTitle(state) {
  const unread = unreadInAll(state.threads)
  document.title = unread ? `(${unread}) Backchannel` : "Backchannel"
  const open = state.threads.get(state.open)
  const elsewhere = unread - (open ? unreadIn(open) : 0)
  setText(dot, elsewhere ? String(elsewhere) : "")
}
