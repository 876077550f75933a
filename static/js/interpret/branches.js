/**
 * Which messages are shown: they are a tree by `parent_id`, since a question may be asked anew or in other words. Shown is
 * the branch that ends at the thread's tip.
 */
import { visible } from "./rooms.js"

/** The messages of the branch that is shown, oldest first. Where an older message is not loaded yet, the branch begins. */
export function shown(room) {
  const all = visible(room)
  if (!room.tip?.id) return all
  const held = new Map(all.map(message => [message.id, message]))
  const branch = []
  for (let next = held.get(room.tip.id) ?? all.at(-1); next; next = held.get(next.parent_id)) {
    branch.unshift(next)
    held.delete(next.id) // so that it ends, whatever halves of a change have been heard
  }
  return branch
}

/** Is the end of the branch further back than what is loaded? */
export function isFurtherBack(room) {
  return Boolean(room?.loaded && room.before && room.tip?.id && !visible(room).some(({ id }) => id === room.tip.id))
}

/** The ids of the versions of each message, oldest first, by message id: what was said in the same place. */
export function versionsIn(room) {
  const places = new Map()
  if (room.tip?.id) for (const message of visible(room)) {
    const place = `${message.direction} ${message.parent_id}`
    const ids = places.get(place) ?? []
    places.set(place, ids)
    ids.push(message.id)
  }
  return new Map([...places.values()].flatMap(ids => ids.map(id => [id, ids])))
}
