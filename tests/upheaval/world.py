"""A real store with two workers on it, the acts that change it, and a bus that the test holds in its hand."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Collection, Mapping
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import gevent
from gevent.event import Event as Flag
from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from agents import outbox
from chat import accounts, agents, log, threads, turns
from chat.accounts import Viewer
from chat.errors import Conflict, Invalid
from chat.models import LogEntry, Message, Participant
from chat.native import message_json, threads_json
from chat.store import Committed, Store
from prepare import migrate
from realtime.event import Event, Head, Page
from realtime.hub import Hub
from tests import acts
from tests.books import hub_on

WORKERS = 2
STATUSES = ("running", "success", "error")


class Hint(NamedTuple):
    """On its way to one worker."""

    worker: int
    log: str
    epoch: str
    event: Event


def begin(folder: Path) -> SimpleNamespace:
    """A store with Alice and her agent, for one world after the other: its engines are slow to warm up."""
    store = Store(f"sqlite:///{folder / 'world.db'}")
    migrate(f"sqlite:///{folder / 'world.db'}")

    def make(session: Session) -> SimpleNamespace:
        acme = accounts.add_tenant(session, "Acme")
        user = accounts.add_user(session, acme, "alice@example.com", "no password", "member")
        agent, _ = agents.add_agent(session, acme, "echo", "http://192.0.2.1/")
        participant = session.query(Participant).filter_by(user_id=user.id).one()
        alice = Viewer(user, participant.id, f"key:{user.id}")
        return SimpleNamespace(folder=folder, store=store, alice=alice, agent=agent)

    beginning = store.write(make)
    copy(folder / "world.db", folder / "begin.db")
    return beginning


class World:
    """Alice's log: what happens in it, what its workers hear of that, and what they read.

    A read takes its snapshot and gives its answer once `may_answer` is set.
    """

    def __init__(self, beginning: SimpleNamespace) -> None:
        self.alice, self._agent, self.store = beginning.alice, beginning.agent, beginning.store
        self.log = self.alice.participant_id
        self.store.after_commit = self._committed
        self._path, self._saved = beginning.folder / "world.db", beginning.folder / "saved.db"
        copy(beginning.folder / "begin.db", self._path)
        copy(beginning.folder / "begin.db", self._saved)
        self.hints: list[Hint] = []
        self.threads_of: dict[str, dict[int, str]] = defaultdict(dict)  # by epoch and seq
        self.may_answer = Flag()
        self.may_answer.set()
        self._ticks: dict[int, Any] = {}
        self.workers = [self._worker() for _ in range(WORKERS)]
        self.said = 0

    # What the hubs are given

    def heads(self, logs: Collection[str]) -> Mapping[str, Head]:
        return self._in_time(self.store.peek(lambda s: log.heads(s, logs)))

    def after(self, name: str, seq: int, limit: int) -> Page | None:
        return self._in_time(self.store.peek(lambda s: log.after(s, name, seq, limit)))

    def _in_time(self, answer: Any) -> Any:
        self.may_answer.wait()
        return answer

    # The bus and the workers

    def _committed(self, committed: Committed) -> None:
        for name, epoch, event in committed:
            if not event.seq:  # of what is being written, which stands in no log
                continue
            self.threads_of[epoch][event.seq] = event.thread_id
            self.hints += [Hint(worker, name, epoch, event) for worker in range(WORKERS)]

    def deliver(self, hint: Hint) -> None:
        self.workers[hint.worker].bus.on_ring(hint.log, hint.epoch, hint.event)

    def tick(self, worker: int) -> None:
        """The worker looks at the heads, unless it still waits for its last look."""
        if worker not in self._ticks or self._ticks[worker].ready():
            self._ticks[worker] = gevent.spawn(self.workers[worker]._check_heads)

    def replace(self, worker: int) -> None:
        """The worker dies and another takes its place; who was connected to it is cut off by the caller."""
        self.workers[worker] = self._worker()
        self.hints = [hint for hint in self.hints if hint.worker != worker]

    def _worker(self) -> Hub:
        hub = hub_on(self)  # type: ignore[arg-type]
        hub.bus.listen(self.log).set()
        return hub

    # What Alice and her agent do

    def thread_ids(self) -> list[str]:
        return sorted(thread["id"] for thread in self.listed()["items"])

    def listed(self) -> dict[str, Any]:
        return self.store.peek(lambda s: threads.page(s, self.alice, None, 200))

    def open_thread(self, title: str | None) -> None:
        acts.open_thread(self.store, self.alice, title)

    def open_another(self, _thread_id: str, n: int) -> None:
        self.open_thread("Another" if n % 2 else None)

    def rename(self, thread_id: str, _n: int) -> None:
        title = self._words()
        self.store.write(lambda s: threads.change(s, threads.hold_own(s, self.alice, thread_id), title=title))

    def say(self, thread_id: str, _n: int) -> None:
        acts.say(self.store, self.alice, thread_id, self._words())

    def reply(self, thread_id: str, _n: int) -> None:
        acts.call(self.store, self._agent, {"thread_id": thread_id, **acts.spoken(self._words())}, key=self._words())

    def answer(self, thread_id: str, n: int) -> None:
        """The agent says how one of the thread's runs goes."""
        run_ids = [run["id"] for run in acts.runs_of(self.store, thread_id)]
        if run_ids:
            self._answer(thread_id, run_ids[-1 - n % len(run_ids)], STATUSES[n % 3])

    def begin_of_its_own(self, thread_id: str, n: int) -> None:
        """The same for a run that nobody asked for."""
        self._answer(thread_id, f"own-{n % 2}-{thread_id}", STATUSES[n % 3])

    def _answer(self, thread_id: str, run_id: str, status: str) -> None:
        said = acts.spoken(self._words()) if status == "success" else {"status": status, "error": "no luck"}
        acts.call(self.store, self._agent, {"thread_id": thread_id, "run_id": run_id, **said})

    def write(self, thread_id: str, n: int) -> None:
        """The agent goes on with an answer, or ends it."""
        run_ids = [run["id"] for run in acts.runs_of(self.store, thread_id)]
        if run_ids:
            event = {"type": "done"} if n % 3 == 0 else acts.token(self._words())
            acts.write(self.store, self._agent, thread_id, run_ids[-1 - n % len(run_ids)], event, key=self._words())

    def put(self, _thread_id: str, _n: int) -> None:
        """The next question goes to the agent."""
        if question := self.store.write(lambda s: outbox.claim(s, 10.0)):
            self.store.write(lambda s: outbox.accepted(s, question))

    def retry(self, thread_id: str, _n: int) -> None:
        self._turn(turns.retry, thread_id)

    def stop(self, thread_id: str, _n: int) -> None:
        self._turn(turns.stop, thread_id)

    def regenerate(self, thread_id: str, which: int) -> None:
        self._turn_on(turns.regenerate, thread_id, which, thread_id)

    def show(self, thread_id: str, which: int) -> None:
        self._turn_on(turns.show, thread_id, which, thread_id)

    def say_otherwise(self, thread_id: str, which: int) -> None:
        self._turn_on(turns.edit, thread_id, which, said=(self._words(),))

    def withdraw(self, thread_id: str, which: int) -> None:
        self._turn_on(turns.withdraw, thread_id, which)

    def send_now(self, thread_id: str, which: int) -> None:
        self._turn_on(turns.send_now, thread_id, which)

    def judge(self, thread_id: str, which: int) -> None:
        self._turn_on(turns.judge, thread_id, which, said=("up", "", ""))

    def _turn(self, turn: Any, *about: Any) -> None:
        with suppress(Conflict, Invalid):  # it is not the time for it
            self.store.write(lambda s: turn(s, self.alice, *about))

    def _turn_on(self, turn: Any, thread_id: str, which: int, *before: str, said: tuple[str, ...] = ()) -> None:
        page = acts.history(self.store, self.alice, thread_id, limit=200)["items"]
        if page:
            self._turn(turn, *before, page[which % len(page)]["id"], *said)

    def mark_read(self, thread_id: str, back: int) -> None:
        said = acts.history(self.store, self.alice, thread_id, limit=200)["items"]
        if seqs := [message["seq"] for message in said][: -back or None]:
            self.store.write(lambda s: threads.mark_read(s, self.alice, thread_id, seqs[-1]))

    def edit(self, thread_id: str, which: int) -> None:
        """Change a message, as whatever edits messages will."""

        def change(session: Session, message: Message) -> None:
            place = log.take(session, self.log)
            message.text, message.rev = f"{message.text}, or rather {self._words()}", place.seq
            entry = LogEntry(kind="message", change="updated", thread_id=thread_id, subject_id=message.id)
            log.append(session, self.log, place, entry, message_json(message))

        self._with_message(thread_id, which, change)

    def take_back(self, thread_id: str, which: int) -> None:
        """Delete a message, and tell what its thread looks like without it: nobody can count what is gone."""

        def remove(session: Session, message: Message) -> None:
            thread = threads.fetch_own(session, self.alice, thread_id)
            place = log.take(session, self.log)
            session.execute(delete(Message).where(Message.id == message.id))
            entry = LogEntry(kind="message", change="deleted", thread_id=thread_id, subject_id=message.id)
            log.append(session, self.log, place, entry, None)
            place = log.take(session, self.log)
            [shown] = threads_json(session, [thread])
            entry = LogEntry(kind="thread", change="updated", thread_id=thread_id, subject_id=thread_id)
            log.append(session, self.log, place, entry, shown)

        self._with_message(thread_id, which, remove)

    def _with_message(self, thread_id: str, which: int, act: Any) -> None:
        page = acts.history(self.store, self.alice, thread_id, limit=200)["items"]
        if page:
            message_id = page[which % len(page)]["id"]
            self.store.write(lambda s: act(s, s.get_one(Message, message_id)))

    def delete_thread(self, thread_id: str, _n: int) -> None:
        self.store.write(lambda s: threads.delete(s, self.alice, thread_id))

    def _words(self) -> str:
        self.said += 1
        return f"words {self.said}"

    # What is done to the log

    def prune(self, share: float) -> None:
        """What lies in the older part of the log goes."""
        [head] = self.store.peek(lambda s: log.heads(s, [self.log])).values()
        floor = max(head.floor, int(head.seq * share))

        def cut(session: Session) -> None:
            session.execute(delete(LogEntry).where(LogEntry.participant_id == self.log, LogEntry.seq <= floor))
            session.execute(update(Participant).where(Participant.id == self.log).values(floor=floor))

        self.store.write(cut)

    def rotate(self) -> None:
        log.rotate_epochs(self.store)
        rows = self.store.peek(lambda s: [(row.seq, row.thread_id) for row in s.query(LogEntry)])
        epoch = self.store.peek(lambda s: log.heads(s, [self.log]))[self.log].epoch
        self.threads_of[epoch].update(rows)

    def save(self) -> None:
        copy(self._path, self._saved)

    def restore(self) -> None:
        """Bring back the saved state, under running workers. What was said since is gone."""
        copy(self._saved, self._path)


def copy(source: Path, target: Path) -> None:
    """Copy a database with what its write-ahead log holds, also into one that is in use."""
    with closing(sqlite3.connect(source)) as read, closing(sqlite3.connect(target)) as written:
        read.backup(written)
