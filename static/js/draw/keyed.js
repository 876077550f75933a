/**
 * Makes the children of `parent` those of `items`, in order, touching only what differs: an element lives as long as
 * its item's key is there, so focus, selection and an open `<details>` survive a redraw.
 */
export class KeyedList {
  #parent
  #make
  #update
  #held = new Map()

  /** `make(item)` gives a new element; `update(element, item)` fills it, and is not called for an unchanged item. */
  constructor(parent, { make, update }) {
    this.#parent = parent
    this.#make = make
    this.#update = update
  }

  draw(items) {
    this.#removeAllBut(new Set(items.map(item => item.key)))
    let place = this.#parent.firstElementChild
    for (const item of items) {
      const element = this.#elementFor(item)
      if (element === place) place = place.nextElementSibling
      else this.#parent.insertBefore(element, place)
    }
  }

  element(key) {
    return this.#held.get(key)?.element
  }

  #elementFor(item) {
    const held = this.#held.get(item.key)
    const element = held?.element ?? this.#make(item)
    if (!held || !sameFields(held.item, item)) this.#update(element, item)
    this.#held.set(item.key, { element, item })
    return element
  }

  #removeAllBut(keys) {
    for (const [key, { element }] of this.#held) {
      if (keys.has(key)) continue
      element.remove()
      this.#held.delete(key)
    }
  }
}

function sameFields(a, b) {
  const names = Object.keys(b)
  return names.length === Object.keys(a).length && names.every(name => Object.is(a[name], b[name]))
}
