/** The JSON doors of the server. Whatever goes wrong comes out as one `ApiError`. */
const TIMEOUT_MS = 15_000

export class ApiError extends Error {
  /**
   * `status` 0: no answer came; `code` then says whether it was the network or the clock. `until` is the time, in
   * milliseconds, from which on the server takes it, where it said so.
   */
  constructor({ status, code, message, until = null }) {
    super(message)
    this.name = "ApiError"
    this.status = status
    this.code = code
    this.until = until
  }
}

export const api = {
  session: () => ask("GET", "/session"),
  signIn: (name, password) => ask("POST", "/login", { name, password }),
  threads: before => ask("GET", before ? `/threads?${new URLSearchParams({ before })}` : "/threads"),
  startThread: (agent, client_id) => ask("POST", "/threads", { agent, client_id }),
  deleteThread: id => ask("DELETE", `/threads/${encodeURIComponent(id)}`),
  messages: id => ask("GET", inThread(id, "messages")),
  olderMessages: (id, before) => ask("GET", `${inThread(id, "messages")}?${new URLSearchParams({ before })}`),
  say: (id, text, client_id) => ask("POST", inThread(id, "messages"), { text, client_id }),
  read: (id, seq) => ask("POST", inThread(id, "read"), { seq }),
  retry: id => ask("POST", inThread(id, "retry")),
  regenerate: (id, message_id) => ask("POST", inThread(id, "regenerate"), { message_id }),
  stop: (id, run_id) => ask("POST", inThread(id, "stop"), { run_id }),
  showVersion: (id, message_id) => ask("POST", inThread(id, "tip"), { message_id }),
  edit: (id, text) => ask("PATCH", `/messages/${encodeURIComponent(id)}`, { text }),
  remove: id => ask("DELETE", `/messages/${encodeURIComponent(id)}`),
  sendNow: id => ask("POST", ofMessage(id, "send_now")),
  judge: (id, feedback) => ask("POST", ofMessage(id, "feedback"), feedback),
  partial: run_id => ask("GET", ofRun(run_id, "partial")),
  wait: run_id => ask("POST", ofRun(run_id, "wait")),
  /** What comes after `cursor`: `{events, cursor}`, after at most `wait` seconds. */
  poll: ({ signal, wait, ...more }) => ask("GET", `/stream?${new URLSearchParams({ wait, ...more })}`, undefined, {
    signal: AbortSignal.any([signal, AbortSignal.timeout(wait * 1000 + TIMEOUT_MS)]),
  }),
}

function ofMessage(id, door) {
  return `/messages/${encodeURIComponent(id)}/${door}`
}

function ofRun(id, door) {
  return `/runs/${encodeURIComponent(id)}/${door}`
}

function inThread(id, door) {
  return `/threads/${encodeURIComponent(id)}/${door}`
}

async function ask(method, path, body, more) {
  const response = await fetch(path, { ...request(method, body), ...more }).catch(error => { throw noAnswer(error) })
  if (!response.ok) throw refusal(response, await response.json().catch(() => null))
  if (response.status === 204) return null
  return response.json().catch(error => { throw noAnswer(error) }) // it broke off, or is not the server's
}

function request(method, body) {
  const headers = { Accept: "application/json" }
  if (body !== undefined) headers["Content-Type"] = "application/json"
  return {
    method,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
    cache: "no-store",
    redirect: "error",
    signal: AbortSignal.timeout(TIMEOUT_MS),
  }
}

function noAnswer(error) {
  return error.name === "TimeoutError"
    ? new ApiError({ status: 0, code: "timeout", message: "The server did not answer in time." })
    : new ApiError({ status: 0, code: "network", message: "The server could not be reached." })
}

function refusal({ status }, answer) {
  const { code = `http_${status}`, message = `The server answered with status ${status}.`, retry_after } = answer?.error ?? {}
  return new ApiError({ status, code, message, until: retry_after === undefined ? null : Date.now() + retry_after * 1000 })
}
