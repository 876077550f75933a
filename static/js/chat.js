/** The chat page: what is received goes into the store, what the store holds is drawn, what the person does is sent. */
import { api } from "./api.js"
import { AgentChoice } from "./draw/agents.js"
import { Announcer } from "./draw/announcer.js"
import { Composer } from "./draw/composer.js"
import { ConnectionStatus } from "./draw/connection.js"
import { Conversation } from "./draw/conversation.js"
import { ConfirmDelete, SignIn } from "./draw/dialogs.js"
import { Drawer } from "./draw/drawer.js"
import { keepFocus } from "./draw/focus.js"
import { Streaming } from "./draw/streaming.js"
import { ThreadList, titleOf } from "./draw/threads.js"
import { drawTitle } from "./draw/title.js"
import { Trouble } from "./draw/trouble.js"
import { Drafts } from "./drafts.js"
import { History } from "./history.js"
import { hasEnded, PIECES } from "./interpret/answers.js"
import { isFurtherBack } from "./interpret/branches.js"
import { failureOfRun, kindOf, wordsOf } from "./interpret/failures.js"
import { initial, reduce } from "./interpret/state.js"
import { unreadIn } from "./interpret/threads.js"
import { visible } from "./interpret/rooms.js"
import { goTo, keepAddress, threadInAddress } from "./places.js"
import { Reader } from "./reader.js"
import { Connection } from "./receive/connection.js"
import { Poll } from "./receive/poll.js"
import { listenForWakes } from "./receive/wakes.js"
import { Sender } from "./sender.js"
import { Session } from "./session.js"
import { Store } from "./store.js"
import { Teller } from "./teller.js"
import { Unsent } from "./unsent.js"
import { uuid } from "./uuid.js"

const MINUTE_MS = 60_000
const SLOW = "backchannel:slow" // kept: a page that is loaded anew should not have to find it out again
const page = uuid() // of this load, in memory only: what is kept for a tab is copied when the tab is
const snapshot = JSON.parse(document.getElementById("state").textContent)
const { user, agents, limits } = snapshot

const unsent = new Unsent(user)
const store = new Store(reduce(initial(snapshot), { type: "restored", messages: unsent.all, said: snapshot.messages }), draw)
const session = new Session({ api, user, onStranger: () => location.assign("/") })
const connection = new Connection({
  cursor: snapshot.cursor,
  open: openStream,
  openTrial: cursor => new EventSource(`/stream?${new URLSearchParams({ last_event_id: cursor, page: `${page}.trial` })}`),
  poll: (cursor, focused) => new Poll(cursor, asked => api.poll({ ...asked, page, focus: focusOf(focused) })),
  slow: localStorage.getItem(SLOW) !== null,
  probe: () => session.probe(),
  resync: () => past.resync(),
  onEvent: hear,
  onStatus: connectionChanged,
})
const past = new History({ api, store, onRefused: () => connection.ask() })
const sender = new Sender({
  api,
  store,
  probe: () => session.probe(),
  onRefused: () => connection.ask(),
  onStarted: started,
  onFailed: error => announcer.say(`Not sent: ${wordsOf(error)}`),
})
const reader = new Reader(api)
const drafts = new Drafts(user)

const threadList = new ThreadList({ onChoose: show, onMore: () => past.moreThreads() })
const conversation = new Conversation({
  acts: {
    retry: (kind, client_id) => retry[kind](client_id),
    discard: client_id => sender.discard(client_id),
    ask: text => sender.say(text, agentChoice.chosen),
    regenerate: id => act(thread_id => api.regenerate(thread_id, id), hearRun),
    showVersion: id => act(thread_id => api.showVersion(thread_id, id)),
    sendNow: id => act(() => api.sendNow(id), hearRun),
    remove: id => act(() => api.remove(id)),
    edit: editMessage,
    judge,
  },
  silence: {
    onRetry: askAgain,
    onWait: run_id => act(() => api.wait(run_id), hearRun),
    onTell: run_id => teller.want(run_id),
  },
  onOlder: () => past.older(),
  onReload: () => past.load(),
  onEnd: markRead,
  onDelete: askToDelete,
})
const agentChoice = new AgentChoice(agents)
const drawer = new Drawer() // before the composer: the Escape that closes it stops no answer
const composer = new Composer({ drafts, limit: limits.text, onSay: text => sender.say(text, agentChoice.chosen), onStop: stop })
const connectionStatus = new ConnectionStatus({ onRetry: () => connection.connect(), onSignIn: () => signIn.open() })
const signIn = new SignIn(signInAgain)
const confirmDelete = new ConfirmDelete({ onDeleted: () => composer.focus() })
const announcer = new Announcer()
const trouble = new Trouble({ onLeft: () => composer.focus() })
const streaming = new Streaming({ onChange: streamingChanged })
const teller = new Teller({ onTold: () => document.hidden && connection.rest() })

function openStream(cursor, focused) {
  return new EventSource(`/stream?${new URLSearchParams({ last_event_id: cursor, page, focus: focusOf(focused) })}`)
}

/** The thread whose answers are to be heard while they are written. */
function focusOf(focused) {
  return (focused && streaming.on && store.state.open) || ""
}

function streamingChanged(on) {
  if (!on) store.dispatch({ type: "unstreamed" })
  connection.refocus()
}

function draw() {
  markRead() // before drawing, so that what is read as it comes never looks unread
  const { state } = store
  unsent.keep(state.sending)
  keepAddress(state)
  threadList.draw(state)
  keepFocus(() => {
    conversation.draw(state)
    composer.draw(state)
  })
  drawTitle(state)
  if (isFurtherBack(state.rooms.get(state.open))) past.older()
}

function hear({ name, seq, data }) {
  const before = store.state
  store.dispatch({ type: "event", name, seq, data }, { isLump: PIECES.includes(name) })
  if (name === "message") announce(before, data)
  if (name === "run") announceFailure(before, data)
  if (name === "message" || name === "run") tell(name, data)
  if (PIECES.includes(name)) past.gaps()
  if (name === "message" && data.change !== "deleted" && !store.state.threads.has(data.thread_id)) past.newThreads()
}

function announce(before, message) {
  const isNews = message.change === "created" && message.direction === "outgoing" && message.thread_id === before.open
  if (isNews && !before.rooms.get(before.open).messages.has(message.id)) {
    announcer.say(`${before.threads.get(before.open).agent.name}: ${message.text}`)
  }
}

function announceFailure(before, run) {
  const known = before.rooms.get(before.open)?.runs.get(run.id)
  const { failure } = failureOfRun(run, null)
  if (failure && run.thread_id === before.open && !(known && hasEnded(known))) announcer.say(failure)
}

/** Whoever asked to be told when an answer comes is also told when it will not. */
function tell(name, { run_id, id, thread_id, status, kind, text }) {
  const agent = store.state.threads.get(thread_id)?.agent.name
  if (name === "message" && kind === "chat" && run_id) teller.tell(run_id, agent, text)
  else if (name === "run" && hasEnded({ status })) teller.tell(id, agent, "There is no answer this time.")
}

function connectionChanged(status, before) {
  connectionStatus.draw(status)
  if (status.slow) localStorage.setItem(SLOW, "1")
  else localStorage.removeItem(SLOW)
  lock(status.state === "signed_out")
  if (status.state === "signed_out") signIn.open()
  if (status.state === "connected" && before !== "connected") resume() // once: what is refused again waits for Retry
}

/** Whoever signed out, here or in another tab, left this page open: what was said is not for the next who comes by. */
function lock(locked) {
  document.body.dataset.locked = locked
}

/** Do what could not be done: the session may have been renewed here or in another tab. */
function resume() {
  signIn.close()
  past.load()
  sender.resume()
}

function show(thread_id) {
  goTo(thread_id)
  trouble.hide()
  store.dispatch({ type: "opened", thread_id })
  drawer.close()
  connection.refocus()
  composer.draw(store.state)
  composer.focus()
  past.load()
}

/** The first message made a thread: go there if the person is still where they wrote it. */
function started(thread) {
  if (store.state.open !== null) return
  drafts.move(null, thread.id)
  show(thread.id)
}

const retry = {
  run: askAgain,
  message: client_id => sender.retry(client_id),
  "sign-in": () => signIn.open(),
  /** It can never be accepted as it is: what was written goes back to where it can be changed. */
  edit: client_id => {
    composer.takeBack(store.state.sending.get(client_id).text)
    sender.discard(client_id)
  },
}

function askAgain() {
  return act(thread_id => api.retry(thread_id), hearRun)
}

function stop(run_id) {
  return act(thread_id => api.stop(thread_id, run_id), hearRun)
}

/**
 * Do what the person asked for in the thread that is open; what it fails with is said above the composer, while that is
 * open still. `heard` takes the answer in.
 */
async function act(ask, heard = () => {}, thread_id = store.state.open) {
  trouble.hide()
  try {
    heard(await ask(thread_id))
  } catch (error) {
    if (kindOf(error) === "session") connection.ask()
    if (thread_id === store.state.open) trouble.show(error, () => act(ask, heard, thread_id))
  }
}

/** The answer to what was done is the same news as its event, and whichever comes second changes nothing. */
function hearRun(run) {
  store.dispatch({ type: "event", name: "run", seq: run.rev, data: { ...run, change: "updated" } })
}

function hearMessage(message) {
  store.dispatch({ type: "event", name: "message", seq: message.rev, data: { ...message, change: "updated" } })
}

/** What it fails with is said where it was written. */
async function editMessage(id, text) {
  try {
    hearMessage(await api.edit(id, text))
  } catch (error) {
    if (kindOf(error) === "session") connection.ask()
    throw error
  }
  composer.focus()
}

/** `quietly`: whoever asked says themselves what it fails with. */
async function judge(id, feedback, { quietly = false } = {}) {
  try {
    hearMessage(await api.judge(id, feedback))
  } catch (error) {
    if (kindOf(error) === "session") connection.ask()
    if (!quietly) trouble.show(error, () => act(() => api.judge(id, feedback), hearMessage))
    throw error
  }
}

function askToDelete() {
  const thread = store.state.threads.get(store.state.open)
  confirmDelete.ask(titleOf(thread), async () => {
    await api.deleteThread(thread.id)
    store.dispatch({ type: "deleted", thread_id: thread.id })
  })
}

async function signInAgain(name, password) {
  await session.signIn(name, password)
  signIn.close()
  composer.focus()
  connection.resume()
}

/** What comes into view of a person who looks is read. */
function markRead() {
  const { open, threads, rooms } = store.state
  const seq = rooms.get(open)?.loaded && visible(rooms.get(open)).at(-1)?.seq
  if (document.hidden || !seq || !unreadIn(threads.get(open)) || !conversation.followed) return
  reader.saw(open, seq)
  store.dispatch({ type: "seen", thread_id: open, seq })
}

addEventListener("pagehide", () => unsent.keep(store.state.sending))
addEventListener("popstate", () => {
  const thread_id = threadInAddress()
  if (thread_id && !store.state.threads.has(thread_id)) location.reload()
  else show(thread_id)
})
document.addEventListener("visibilitychange", () => store.drawSoon())
setInterval(() => store.drawSoon(), MINUTE_MS) // "Today" ends at midnight

connection.connect() // before drawing: a page that cannot show something can still hear that it has changed
listenForWakes(connection, () => !teller.waits)
draw()
composer.focus()
