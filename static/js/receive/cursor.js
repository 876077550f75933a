/** A cursor is `<epoch>.<seq>`: which history of the log, and how far in it we are. */
export function seqOf(cursor) {
  return Number(cursor.slice(cursor.lastIndexOf(".") + 1))
}

export function epochOf(cursor) {
  return cursor.slice(0, cursor.lastIndexOf("."))
}
