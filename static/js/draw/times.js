/** Times as the reader's own clock and language write them. */
const DAY = 86_400 // seconds
const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" })
const precise = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit", second: "2-digit" })
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" })
const shortDay = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" })
const longDay = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" })
const longDayWithYear = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" })

/** Fill a `<time>`: `write` says it short, the tooltip in full. */
export function fillTime(element, at, write) {
  const date = new Date(at)
  element.dateTime = at
  element.title = full.format(date)
  element.textContent = write(date)
}

export function timeOfDay(date) {
  return clock.format(date)
}

export function timeWithSeconds(date) {
  return precise.format(date)
}

/** The time today, the day of anything older. */
export function timeOrDay(date) {
  return daysAgo(date) === 0 ? clock.format(date) : shortDay.format(date)
}

export function dayName(date) {
  const days = daysAgo(date)
  if (days === 0) return "Today"
  if (days === 1) return "Yesterday"
  return date.getFullYear() === new Date().getFullYear() ? longDay.format(date) : longDayWithYear.format(date)
}

/** A duration as people say it: "0.4 s", "12 s", "3 min 5 s", "2 h 5 min". What an agent tells may be any number. */
export function secondsOf(ms) {
  const seconds = Math.max(0, Number(ms) || 0) / 1000
  return seconds < 9.95 ? `${Math.round(seconds * 10) / 10} s` : wholeSecondsOf(seconds)
}

/** The same where tenths would say too much: "under a second", "12 s". */
export function roughlyOf(ms) {
  return ms < 1000 ? "under a second" : wholeSecondsOf(ms / 1000)
}

function wholeSecondsOf(given) {
  const seconds = Math.round(given)
  const minutes = Math.floor(seconds / 60)
  if (seconds < 60) return `${seconds} s`
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`
  return seconds > DAY ? "more than a day" : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}

/** Whole seconds from `at` (a time, or its milliseconds) until now, and from now until then; never below 0. */
export function secondsSince(at) {
  return Math.max(0, Math.floor((Date.now() - new Date(at)) / 1000))
}

export function secondsUntil(at) {
  return Math.max(0, Math.ceil((at - Date.now()) / 1000))
}

function daysAgo(date) {
  const midnight = day => new Date(day.getFullYear(), day.getMonth(), day.getDate())
  return Math.round((midnight(new Date()) - midnight(date)) / (DAY * 1000))
}
