const FIRST_MS = 1_000
const CAP_MS = 30_000
const FLOOR_MS = 100

/** Say how long to wait before the next attempt: full jitter, so that many pages do not come back as one. */
export function delayAfter(failures, random = Math.random()) {
  const ceiling = Math.min(CAP_MS, FIRST_MS * 2 ** Math.max(0, failures - 1))
  return Math.max(FLOOR_MS, Math.round(random * ceiling))
}
