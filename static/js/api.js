/** The JSON doors of the server. Whatever goes wrong comes out as one `ApiError`. */
const TIMEOUT_MS = 15_000

export class ApiError extends Error {
  /** `status` 0: no answer came; `code` then says whether it was the network or the clock. */
  constructor({ status, code, message }) {
    super(message)
    this.name = "ApiError"
    this.status = status
    this.code = code
  }
}

export const api = {
  session: () => ask("GET", "/session"),
  signIn: (name, password) => ask("POST", "/login", { name, password }),
  threads: before => ask("GET", before ? `/threads?${new URLSearchParams({ before })}` : "/threads"),
  startThread: agent => ask("POST", "/threads", { agent }),
  deleteThread: id => ask("DELETE", `/threads/${encodeURIComponent(id)}`),
  messages: id => ask("GET", inThread(id, "messages")),
  olderMessages: (id, before) => ask("GET", `${inThread(id, "messages")}?${new URLSearchParams({ before })}`),
  say: (id, text, client_id) => ask("POST", inThread(id, "messages"), { text, client_id }),
  read: (id, seq) => ask("POST", inThread(id, "read"), { seq }),
  retry: id => ask("POST", inThread(id, "retry")),
}

function inThread(id, door) {
  return `/threads/${encodeURIComponent(id)}/${door}`
}

async function ask(method, path, body) {
  const response = await fetch(path, request(method, body)).catch(error => { throw noAnswer(error) })
  const answer = await response.json().catch(() => null)
  if (!response.ok) throw refusal(response, answer)
  return answer
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
  const { code = `http_${status}`, message = `The server answered with status ${status}.` } = answer?.error ?? {}
  return new ApiError({ status, code, message })
}
