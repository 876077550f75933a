/** Make a new element from the `<template>` with this id. */
export function fromTemplate(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true)
}

/** The part of `element` that its markup names so. */
export function part(element, name) {
  return element.querySelector(`[data-part="${name}"]`)
}

/** Show `text`, or nothing at all: an empty element would still take its place and be read aloud. */
export function setText(element, text) {
  element.hidden = !text
  if (element.textContent !== (text ?? "")) element.textContent = text ?? ""
}
