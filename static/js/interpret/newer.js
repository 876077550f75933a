/**
 * Hold `thing` under its id unless what is held is as new or newer. `rev` is the seq of its last change, so events and
 * pages may arrive in any order and any number of times.
 */
export function keepNewer(map, thing, rev) {
  const held = map.get(thing.id)
  return held && held.rev >= rev ? map : new Map(map).set(thing.id, { ...thing, rev })
}
