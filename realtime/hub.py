"""All tails of this worker, and the tick that bounds every loss of a hint (DESIGN 5)."""

from __future__ import annotations

import logging
import random
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

import gevent
from gevent.event import Event as Flag
from gevent.lock import BoundedSemaphore

from realtime.bus import Bus
from realtime.census import Census
from realtime.event import Event, Head
from realtime.stream import Stream
from realtime.tail import After, Tail

logger = logging.getLogger(__name__)

TICK = 2.0  # seconds, +-20 %
LINGER = 30.0  # seconds a log is still heard of after its last reader left
CONFIRM = 0.5  # seconds to wait for the broker's confirmation; without it the tick brings what is missed
DRAIN_STEP = 0.02  # seconds
TURNS = 2  # streams that are let in at once
PATIENCE = 0.01  # seconds for which they let everything else go before them
REPLAYS = 4  # pages that are read at once for those who are behind
REFRESHES = 4  # and for tails that have missed something


class Heads(Protocol):
    """Where each of these logs stands; unknown ones are left out."""

    def __call__(self, logs: Collection[str]) -> Mapping[str, Head]: ...


Partials = Callable[[Collection[str]], Collection[Event]]
Admitted = Callable[[Collection[str]], Collection[str]]


class LogGone(LookupError):
    """The log to be watched does not exist."""


class Hub:
    """The store is handed in as functions: `heads`, `after`, `partials`, which tells what is being written in some
    threads, and `admitted`, which says whose grants still hold.

    `census` counts them over all workers; `most` is how many streams this one takes, 0: no limit.
    """

    def __init__(
        self,
        bus: Bus,
        census: Census,
        heads: Heads,
        after: After,
        admitted: Admitted,
        most: int = 0,
        partials: Partials = lambda threads: (),
    ) -> None:
        self.bus = bus
        self.census = census
        self.streams: set[Stream] = set()
        self.draining = False
        self._turnstile = BoundedSemaphore(TURNS)
        self.replays = BoundedSemaphore(REPLAYS)
        self._refreshes = BoundedSemaphore(REFRESHES)
        self._pages: dict[str, set[Stream]] = defaultdict(set)
        self._after = after
        self.partials = partials
        self._shown: dict[str, bytes] = {}  # of what is being written, while the broker is away: by thread
        self._most = most
        self._heads = heads
        self._admitted = admitted
        self._tails: dict[str, Tail] = {}
        self._tick_now = Flag()
        bus.on_passing = self._passes
        bus.on_ring, bus.on_kick, bus.on_page, bus.on_gap = self._heard, self.kick, self._turn_page, self._tick_now.set

    def start(self) -> None:
        self.bus.start()
        gevent.spawn(self._tick)
        gevent.spawn(self.census.renew_for_ever, self.streams)

    @contextmanager
    def watch(self, log: str, stream: Stream) -> Iterator[Tail]:
        """Join a stream to a log's tail, as far as the store is now; leave it at the end, whatever the end.

        Raises LogGone, and whatever the store raises.
        """
        self._enter(stream)  # before anything waits: it counts, and may be kicked or drained, from here on
        try:
            with self._join(log).reader(stream) as tail:
                yield tail
        finally:
            self._leave(stream)

    def wait_turn(self) -> None:
        """Wait until the loop has nothing else to do, or at least until those who came before have been let in.

        A crowd that comes back after a restart would else fill the loop with its joining, and webhooks, sign-ins and
        health checks would wait for seconds behind it (measured: 7 s with 2,000). Of all that wait to be accepted the
        loop takes one a turn, so turns must be short.
        """
        with self._turnstile:
            gevent.with_timeout(PATIENCE, gevent.idle, timeout_value=None)

    def refuses(self, stream: Stream) -> str | None:
        """Why a stream cannot be taken now, though it may be in some seconds; None if it can, and it is counted."""
        if not self.draining and not self.census.admits(stream, self.streams):
            return "limit"
        if self.draining or 0 < self._most <= len(self.streams):  # asked last: the broker took its time
            self._forget(stream)
            return "drain" if self.draining else "limit"
        return None

    def kick(self, grant: str) -> None:
        """End the streams that this grant has opened, by whatever right of it."""
        for stream in list(self.streams):
            if stream.grant == grant or stream.grant.startswith(f"{grant}:"):
                stream.hang_up("auth")

    def drain(self, seconds: float = 0.0) -> None:
        """Take no new streams and end those there are, one by one over so many seconds: a crowd must not come back."""
        self.draining = True
        leaving = list(self.streams)
        random.shuffle(leaving)
        began, count = time.monotonic(), len(leaving)
        while leaving:
            # By the clock, not a pause for each: with thousands the pauses would add up to more than there is.
            elapsed = time.monotonic() - began
            for _ in range(len(leaving) - int(count * max(0.0, 1 - elapsed / seconds)) if seconds else count):
                leaving.pop().hang_up("drain")
            gevent.sleep(DRAIN_STEP)

    def _enter(self, stream: Stream) -> None:
        self.streams.add(stream)
        if stream.page:
            self._pages[stream.page].add(stream)
            self._turn_page(stream.page, stream.opened_ms)  # here at once, broker or not
            self.bus.turn_page(stream.page, stream.opened_ms)

    def _leave(self, stream: Stream) -> None:
        self.streams.discard(stream)
        page = self._pages.get(stream.page, set())
        page.discard(stream)
        if not page:
            self._pages.pop(stream.page, None)
        if not stream.is_replaced:
            self._forget(stream)

    def _forget(self, stream: Stream) -> None:
        """Count it no more, unless its page has another here: all of a page count as one."""
        if stream.page not in self._pages:
            self.census.forget(stream)

    def _turn_page(self, page: str, opened_ms: int) -> None:
        """The page has a newer stream, perhaps of another worker: the older ones have no reader any more."""
        for stream in list(self._pages.get(page, ())):
            if stream.opened_ms < opened_ms:
                stream.is_replaced = True
                stream.hang_up("rotate")

    def _join(self, log: str) -> Tail:
        # Subscribe before reading the head: what commits in between rings, what committed before is in the head.
        confirmed = self.bus.listen(log)
        # Looked at first: gevent forgets one who begins to wait for a flag just set if the only other waiter gives up
        # before he is told, and then no timeout helps (26.9.0, AbstractLinkable.unlink).
        if not confirmed.is_set():
            confirmed.wait(CONFIRM)
        try:
            self.wait_turn()
            tail = self._tail(log)
        except Exception:
            if log not in self._tails:
                self.bus.unlisten(log)
            raise
        self.bus.listen(log)  # again, if another let the log go while we waited
        return tail

    def _tail(self, log: str) -> Tail:
        before = self._tails[log].last if log in self._tails else 0
        head = self._heads([log]).get(log)
        if head is None:
            raise LogGone(log)
        if log in self._tails:
            self._tails[log].head_is(head, before)
        else:
            self._tails[log] = Tail(log, head, self._after, self._refreshes)
        return self._tails[log]

    def _heard(self, log: str, epoch: str, event: Event) -> None:
        if tail := self._tails.get(log):
            tail.heard(epoch, event.seq, event)

    def _passes(self, log: str, event: Event) -> None:
        if tail := self._tails.get(log):
            tail.pass_on(event)

    # The tick runs always: what is lost, whatever lost it, is lost for two seconds.

    def _tick(self) -> None:
        while True:
            self._tick_now.wait(TICK * random.uniform(0.8, 1.2))
            self._tick_now.clear()
            for check in (self._check_heads, self._check_grants, self._check_drafts):
                try:
                    check()
                except OSError as error:  # the store is away, which it says itself
                    logger.warning("the tick cannot ask the store: %s", error)
                except Exception:
                    logger.exception("the tick has failed; the next one tries again")

    def _check_heads(self) -> None:
        self._let_go()
        before = {log: tail.last for log, tail in self._tails.items()}
        heads = self._heads(list(before)) if before else {}
        for log, last in before.items():
            if log not in heads:
                self._end(log)
            elif tail := self._tails.get(log):
                tail.head_is(heads[log], last)

    def _end(self, log: str) -> None:
        """The log is gone, and with it whoever was let in to read it."""
        tail = self._tails.get(log)
        for reader in list(tail.readers if tail else ()):
            reader.hang_up("auth")

    def _let_go(self) -> None:
        now = time.monotonic()
        for log, tail in list(self._tails.items()):
            if tail.readers:
                tail.tidy()
            elif now - tail.idle_since > LINGER:
                del self._tails[log]
                self.bus.unlisten(log)

    def _check_grants(self) -> None:
        grants = {stream.grant for stream in self.streams}
        for grant in grants.difference(self._admitted(grants) if grants else ()):
            self.kick(grant)

    def _check_drafts(self) -> None:
        """Without a broker, answers grow by what the tick sees of them."""
        focus = set() if self.bus.healthy else set[str]().union(*(stream.focus for stream in self.streams))
        events = self.partials(focus) if focus else ()
        before, self._shown = self._shown, {event.thread_id: bytes(event.data) for event in events}
        for event in events:
            if before.get(event.thread_id) != bytes(event.data):
                for stream in list(self.streams):
                    stream.offer(event)
