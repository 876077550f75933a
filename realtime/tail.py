"""The watched end of one log in this worker: the whole of ordering, gap filling and deduplication (DESIGN 5)."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from typing import Any, Protocol

import gevent
from gevent.event import AsyncResult

from realtime import metrics
from realtime.cursor import Cursor
from realtime.event import Event, Head, Page

logger = logging.getLogger(__name__)

RECENT = 200  # events kept for streams that are a little behind
RECENT_BYTES = 1024 * 1024
RECENTLY = 60.0  # seconds that they are kept: a worker may have thousands of tails
PAGE = 200  # events read from the store at once


Slots = AbstractContextManager[Any]  # how many may read at once
ENDLESS: Slots = nullcontext()


class After(Protocol):
    """Read up to `limit` events of a log above `seq`; None if that cannot be done without a gap."""

    def __call__(self, log: str, seq: int, limit: int) -> Page | None: ...


class Reader(Protocol):
    """An open stream, as its tail sees it."""

    def wake(self) -> None: ...
    def offer(self, event: Event) -> None: ...
    def hang_up(self, reason: str) -> None: ...
    def reset(self, reason: str) -> None: ...


class Tail:
    """`last` is the highest seq it has, `wanted` the highest it has heard of.

    Everything heard, from a ring, a read or a join, goes through `heard`; what is missing is read from the store by
    one greenlet at a time.
    """

    def __init__(self, log: str, head: Head, after: After, refreshes: Slots = ENDLESS) -> None:
        self.log = log
        self.readers: set[Reader] = set()
        self.idle_since = time.monotonic()
        self._after = after
        self._refreshes = refreshes
        self._refreshing = False
        self._replaying: dict[int, AsyncResult[Page | None]] = {}  # pages that are being read, by the seq before them
        self.wanted = 0
        self._start_at(head)

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.epoch, self.last)

    @contextmanager
    def reader(self, reader: Reader) -> Iterator[Tail]:
        """Wake this reader whenever there is something new, as long as the context lasts."""
        self.readers.add(reader)
        try:
            yield self
        finally:
            self.readers.discard(reader)
            self.idle_since = time.monotonic()

    def recall(self, seq: int) -> list[Event]:
        """What is newer than `seq`, oldest first, if the next one is still among the recent ones."""
        first = seq - self.last + len(self._recent)
        return list(islice(self._recent, first, None)) if 0 <= first < len(self._recent) else []

    def replay(self, seq: int, slots: Slots = ENDLESS) -> Page | None:
        """Read the page after `seq`. Readers who were cut off together come back together, and read together."""
        if reading := self._replaying.get(seq):
            return reading.get()
        reading = self._replaying[seq] = AsyncResult()
        try:
            with slots:
                reading.set(self._after(self.log, seq, PAGE))
        except BaseException as error:  # also if this reader is killed: the others must not wait for ever
            reading.set_exception(error if isinstance(error, Exception) else OSError("reading was given up"))
            raise
        finally:
            del self._replaying[seq]
        return reading.get()

    def remember(self, events: Sequence[Event]) -> None:
        """Keep what a reader had to fetch, if it joins on to what is kept: others come back from the same place."""
        first = self.last + 1 - len(self._recent)
        size = sum(len(event.data) for event in events)
        fits = len(self._recent) + len(events) <= RECENT and self._recent_bytes + size <= RECENT_BYTES
        if events and events[-1].seq + 1 == first and fits:
            self._recent.extendleft(reversed(events))
            self._recent_bytes += size
            self._kept_at = time.monotonic()

    def tidy(self) -> None:
        """Forget what was kept, if that was not recently: it can be read again."""
        if self._recent and time.monotonic() - self._kept_at > RECENTLY:
            self._forget_recent()

    def heard(self, epoch: str, seq: int, event: Event | None = None) -> None:
        """Take the event if it is the next one; otherwise have what is missing read. Never waits."""
        if epoch != self.epoch:
            return  # a ring of another life: the next look at the heads tells which of us is late
        if event is not None and seq > self.wanted + 1:
            metrics.HINTS_LOST.labels("ring").inc(seq - self.wanted - 1)
        self.wanted = max(self.wanted, seq)
        if event is not None and seq == self.last + 1:
            self._take(event)
        elif self.last < self.wanted:
            self._refresh_later()

    def pass_on(self, event: Event) -> None:
        """Offer what has no place in the log to those who are here. Never waits."""
        for reader in self.readers:
            reader.offer(event)

    def head_is(self, head: Head, last_before: int) -> None:
        """Note where the store stands. `last_before` is our `last` from before the store was asked.

        Without it, a ring taken while the answer was on its way would make the answer look like a log that shrank.
        """
        if head.epoch != self.epoch or head.seq < last_before:
            self.start_anew(head, "epoch" if head.epoch != self.epoch else "rewound")
        elif self.last < head.floor:
            self.start_anew(head, "pruned")  # what is missing is there no more
        else:
            metrics.HINTS_LOST.labels("tick").inc(max(0, head.seq - self.wanted))
            self.heard(head.epoch, head.seq)

    def start_anew(self, head: Head, reason: str) -> None:
        """Forget everything: what we have is not what the store has, or cannot be joined to it without a gap."""
        logger.warning("log %s: starting anew at %s (%s)", self.log, head, reason)
        self._start_at(head)
        for reader in list(self.readers):
            reader.reset(reason)

    def _start_at(self, head: Head) -> None:
        self.epoch, self.last, self.wanted = head.epoch, head.seq, head.seq
        self._kept_at = 0.0
        self._forget_recent()

    def _forget_recent(self) -> None:
        self._recent: deque[Event] = deque()
        self._recent_bytes = 0

    def _take(self, event: Event) -> None:
        self.last = event.seq
        self.wanted = max(self.wanted, event.seq)
        self._recent.append(event)
        self._recent_bytes += len(event.data)
        self._kept_at = time.monotonic()
        while len(self._recent) > RECENT or self._recent_bytes > RECENT_BYTES:
            self._recent_bytes -= len(self._recent.popleft().data)
        for reader in self.readers:
            reader.wake()

    def _refresh_later(self) -> None:
        if not self._refreshing:
            self._refreshing = True
            gevent.spawn(self._refresh)

    def _refresh(self) -> None:
        # Between the last look at `wanted` and the flag's fall nothing yields, so a ring that comes while we are
        # ending is either seen here or starts the next refresh.
        try:
            with self._refreshes:  # a worker that has slept wants to read all its logs at once
                while self.last < self.wanted and self._read_on():
                    pass
        except OSError as error:  # the store is away, which it says itself
            logger.warning("log %s: cannot read on, the next tick tries again: %s", self.log, error)
        except Exception:
            logger.exception("log %s: cannot read on; the next tick tries again", self.log)
        finally:
            self._refreshing = False

    def _read_on(self) -> bool:
        """Read a page after `last` and take what is still missing; False if there is nothing more to be had."""
        epoch, last, wanted = self.epoch, self.last, self.wanted
        page = self._after(self.log, last, PAGE)
        if self.epoch != epoch:
            return True  # started anew meanwhile
        if page is None or page.head.epoch != epoch or page.head.seq < last:
            return False  # the next look at the heads starts us anew
        for event in page.events:
            if event.seq == self.last + 1:  # a ring may have brought it meanwhile
                self._take(event)
        if not page.events and self.wanted == wanted:
            self.wanted = self.last  # heard of something that is not there: the store is the truth
        return bool(page.events) or self.wanted != wanted
