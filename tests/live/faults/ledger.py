"""The ledger of one load: what was said, what was acknowledged, what is stored, and who was shown what."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import gevent
from sqlalchemy import select
from sqlalchemy.orm import Session

from chat.models import Message, Run
from chat.store import Store
from tests.live.faults.load import Load, Request
from tests.live.faults.oracle import Said, Threads, judge
from tests.live.faults.report import Report
from tests.live.faults.watchers import Crew, Watcher
from tests.until import until

Row = TypeVar("Row", Message, Run)
CATCH_UP = 60.0  # seconds for every watcher to hear the last words


class NotHeard(AssertionError):
    """Somebody has not heard something in time."""


class Ledger:
    """Given by `rig.load()`. `settle` ends it with the oracle's report."""

    def __init__(
        self, load: Load, crew: Crew, watchers: list[Watcher], store: Store, note: Callable[[str], None]
    ) -> None:
        self.load = load
        self.watchers = watchers
        self._crew, self._store, self._note = crew, store, note

    # While it lasts

    @property
    def acknowledged(self) -> list[Request]:
        return [request for request in self.load.requests if request.acknowledged is not None]

    def goes_on(self, more: int = 30, seconds: float = 60.0) -> None:
        """Wait until so many more things have been acknowledged."""
        wanted = len(self.acknowledged) + more
        until(lambda: len(self.acknowledged) >= wanted, seconds)

    def lasts(self, seconds: float) -> None:
        """Let the load go on for some time, while a fault lasts."""
        gevent.sleep(seconds)

    def say(self) -> Request:
        """Say one thing more and wait for its acknowledgement."""
        party = self.load.cast[0]
        request = self.load.say("webhook", party, party.threads[0])
        until(lambda: request.acknowledged is not None, 60)
        return request

    def catches_up(self, seconds: float) -> None:
        """Wait until every watcher has heard all that is acknowledged by now. Raises NotHeard."""
        self.is_heard(self.acknowledged, seconds)

    def is_heard(self, requests: Iterable[Request], seconds: float) -> None:
        """Wait until every watcher of their threads has heard these. Raises NotHeard."""
        requests, deadline = list(requests), time.monotonic() + seconds
        deaf = [(w, request) for w in self.watchers for request in requests if request.thread in w.threads]
        while deaf := [(watcher, request) for watcher, request in deaf if request.text not in watcher.texts]:
            if time.monotonic() > deadline:
                told = "; ".join(f"{watcher.name}: {request.text!r}" for watcher, request in deaf[:5])
                raise NotHeard(f"not heard within {seconds} s: {told}; {len(deaf)} in all")
            gevent.sleep(0.05)

    # At the end

    def settle(self) -> Report:
        """Say a last word in every thread, wait until all watchers have heard it, and ask the oracle."""
        last = [
            self.load.say("webhook", party, thread, f"the end of {thread}")
            for party in self.load.cast
            for thread in party.threads
        ]
        self.load.stop()
        deaf = None
        try:
            self.is_heard([request for request in last if request.acknowledged], CATCH_UP)
        except NotHeard as error:
            deaf = error  # the report says more
        report = self.report()
        self.leave()
        self._note(str(report))
        if deaf and not report.verdict.lines:
            raise deaf
        return report

    def report(self) -> Report:
        """What the oracle says of the state of things now."""
        for page in (watcher for watcher in self.watchers if watcher.kind == "chromium"):
            self._crew.look(page)
        stored, drawn = self.stored()
        said = [Said(r.thread, r.text, r.acknowledged is not None) for r in self.load.requests]
        verdict = judge(said, stored, [watcher.watch(drawn) for watcher in self.watchers])
        return Report(verdict, self.load.requests, self.watchers, stored)

    def stored(self) -> tuple[Threads, Threads]:
        """What the database holds: each thread's messages in the order of their seq, and in that of a page."""
        threads = [thread for party in self.load.cast for thread in party.threads]
        messages = self._store.read(lambda session: rows(session, Message, threads))
        runs = self._store.read(lambda session: rows(session, Run, threads))
        found = {thread: sorted(messages[thread], key=lambda message: message.seq) for thread in threads}
        return told(found), told({thread: as_drawn(found[thread], runs[thread]) for thread in threads})

    def leave(self) -> None:
        """Let the watchers go."""
        for watcher in self.watchers:
            self._crew.leave(watcher)


def told(threads: Mapping[str, Sequence[Message]]) -> Threads:
    return {thread: [(message.id, message.text) for message in messages] for thread, messages in threads.items()}


def rows(session: Session, model: type[Row], threads: list[str]) -> dict[str, list[Row]]:
    """By thread; the oldest first, as far as ids tell."""
    found: dict[str, list[Row]] = {thread: [] for thread in threads}
    for row in session.scalars(select(model).where(model.thread_id.in_(threads)).order_by(model.id)):
        found[row.thread_id].append(row)
    return found


def as_drawn(messages: Sequence[Message], runs: Sequence[Run]) -> list[Message]:
    """Each message above those that follow it, of these the older first; below them all the questions that wait."""
    following = defaultdict(list)
    for message in messages:
        following[message.parent_id].append(message)
    next_ones, drawn = following[None][::-1], []
    while next_ones:
        drawn.append(message := next_ones.pop())
        next_ones += following[message.id][::-1]
    waiting = in_line(drawn, runs)
    return [message for message in drawn if message not in waiting] + waiting


def in_line(drawn: Sequence[Message], runs: Sequence[Run]) -> list[Message]:
    """The questions that are put when the one before them is answered. Where none has begun, the first is the next."""
    newest = {run.message_id: run for run in runs}
    begun = [run for run in newest.values() if run.started_at and run.status in ("queued", "running")]
    line = [m for m in drawn if m.id in newest and newest[m.id].status == "queued" and not newest[m.id].started_at]
    return line if begun else line[1:]
