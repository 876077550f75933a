/** The end of a line that the test holds in its hand, in the place of an EventSource. */
export class Line extends EventTarget {
  closed = false

  constructor(cursor, focused) {
    super()
    this.cursor = cursor
    this.focused = focused
  }

  send(name, data, id = this.cursor) {
    this.say(name, id, JSON.stringify(data))
  }

  /** A frame as the parser gave it. */
  say(name, lastEventId, data) {
    if (this.closed) return // as an EventSource does
    this.dispatchEvent(new MessageEvent(name, { data, lastEventId }))
  }

  greet() {
    this.send("ready", { head: this.cursor, ping: 15, conn: "c1" })
  }

  drop() {
    this.dispatchEvent(new Event("error"))
  }

  close() {
    this.closed = true
  }
}
