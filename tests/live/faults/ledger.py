"""The ledger of one load: what was said, what was acknowledged, what is stored, and who was shown what."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

import gevent
from sqlalchemy import select

from chat.models import Message
from chat.store import Store
from tests.live.faults.load import Load, Request
from tests.live.faults.oracle import Said, Shown, judge
from tests.live.faults.report import Report
from tests.live.faults.watchers import Crew, Watcher
from tests.until import until

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
        while deaf := self._deaf(requests):
            if time.monotonic() > deadline:
                raise NotHeard(f"not heard within {seconds} s: {'; '.join(deaf[:5])}; {len(deaf)} in all")
            gevent.sleep(0.05)

    def _deaf(self, requests: list[Request]) -> list[str]:
        return [
            f"{watcher.name}: {request.text!r}"
            for watcher in self.watchers
            for request in requests
            if request.thread in watcher.threads and request.text not in watcher.texts
        ]

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
        stored = self.stored()
        said = [Said(r.thread, r.text, r.acknowledged is not None) for r in self.load.requests]
        verdict = judge(said, stored, [watcher.watch for watcher in self.watchers])
        return Report(verdict, self.load.requests, self.watchers, stored)

    def stored(self) -> dict[str, Sequence[Shown]]:
        """What the database holds: each thread's messages, in the order of their seq."""
        threads = [thread for party in self.load.cast for thread in party.threads]
        query = select(Message.thread_id, Message.id, Message.text).where(Message.thread_id.in_(threads))
        rows = self._store.read(lambda session: session.execute(query.order_by(Message.seq)).all())
        found: dict[str, list[Shown]] = {thread: [] for thread in threads}
        for thread, id, text in rows:
            found[thread].append((id, text))
        return dict(found)

    def leave(self) -> None:
        """Let the watchers go."""
        for watcher in self.watchers:
            self._crew.leave(watcher)
