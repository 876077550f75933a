/** Times as the reader's own clock and language write them. */
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

function daysAgo(date) {
  const midnight = day => new Date(day.getFullYear(), day.getMonth(), day.getDate())
  return Math.round((midnight(new Date()) - midnight(date)) / 86_400_000)
}
