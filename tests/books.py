"""A log in memory, to be handed to tails and hubs as the functions they ask for, and a client that watches it."""

from __future__ import annotations

import json
from collections.abc import Collection

import gevent
import msgspec
from gevent.event import Event as Flag

from realtime.bus import Bus
from realtime.census import Census
from realtime.event import Event, Head, Page
from realtime.hub import Admitted, Hub
from realtime.stream import Filter, Stream
from tests import sse
from tests.until import until

LOG = "alice"


def happening(seq: int, thread_id: str = "t1") -> Event:
    return Event(seq, "message", thread_id, msgspec.Raw(json.dumps({"seq": seq}).encode()))


class Book:
    """The log of Alice: `write` commits, `heads` and `after` read it as the store would.

    A read takes its snapshot, sets `asked`, and gives its answer once `may_answer` is set. `reads` counts them.
    """

    def __init__(self, epoch: str = "e1") -> None:
        self.epoch, self.floor = epoch, 0
        self.events: list[Event] = []
        self.reads = 0
        self.asked, self.may_answer = Flag(), Flag()
        self.may_answer.set()
        self.trouble: Exception | None = None

    @property
    def head(self) -> Head:
        return Head(self.epoch, len(self.events), self.floor)

    def write(self, count: int = 1, thread_id: str = "t1") -> Event:
        """Commit so many events and return the last."""
        for _ in range(count):
            self.events.append(happening(len(self.events) + 1, thread_id))
        return self.events[-1]

    def begin_anew(self, epoch: str, count: int = 0) -> None:
        """The log is another one now, as after a restore."""
        self.epoch, self.events = epoch, []
        for _ in range(count):
            self.write()

    def heads(self, logs: Collection[str]) -> dict[str, Head]:
        if self.trouble:
            raise self.trouble
        return {LOG: self.head} if LOG in logs else {}

    def after(self, log: str, seq: int, limit: int) -> Page | None:
        self.reads += 1
        page = Page(self.head, self.events[seq : seq + limit]) if seq >= self.floor else None
        self.asked.set()
        self.may_answer.wait()
        if self.trouble:
            raise self.trouble
        return page


def hub_on(book: Book, admitted: Admitted = set, most: int = 0) -> Hub:
    """A hub that reads the book. Nothing runs in the background: the test rings and ticks."""
    bus = Bus("redis://127.0.0.1:1")
    hub = Hub(bus, Census(bus.commands, "", 0), book.heads, book.after, admitted, most=most)
    hub.bus.listen(LOG).set()  # as if the broker had confirmed it
    return hub


def ring(hub: Hub, event: Event, epoch: str = "e1") -> None:
    """A hint arrives from the broker."""
    hub.bus.on_ring(LOG, epoch, event)


class Watcher:
    """A client that reads a stream to its end, by the standard's own rules."""

    def __init__(
        self,
        hub: Hub,
        cursor: str | None = None,
        shows: Filter = lambda event: True,
        grant: str = "session:alice",
        owner: str = "alice",
        page: str = "",
        focus: Collection[str] = (),
    ) -> None:
        self.stream = Stream(hub, LOG, grant, cursor, shows, "c1", owner, page, focus=focus)
        self.frames: list[sse.Event] = []
        self.may_read = Flag()
        self.may_read.set()
        self._greenlet = gevent.spawn(self._read, sse.EventStream(cursor or ""))

    def _read(self, parser: sse.EventStream) -> None:
        for block in self.stream.serve():
            self.frames += parser.feed(block)  # whole events, one or more in a write
            self.may_read.wait()

    def wait_for(self, name: str) -> sse.Event:
        """The first event of this name, once it has come."""
        return until(lambda: next((frame for frame in self.frames if frame.event == name), None))

    def seqs(self) -> list[int]:
        return [frame.json["seq"] for frame in self.frames if frame.event == "message"]

    @property
    def names(self) -> list[str]:
        return [frame.event for frame in self.frames]

    def leave(self) -> list[sse.Event]:
        """Close the connection; returns all that was read."""
        self.stream.hang_up()
        self.may_read.set()
        self._greenlet.join(timeout=5)
        assert self._greenlet.ready(), "the stream did not end"
        return self.frames

    @property
    def is_over(self) -> bool:
        return self._greenlet.ready()
