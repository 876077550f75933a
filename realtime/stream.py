"""One open connection: its own place in a tail, a filter, and the frames that are due to it (DESIGN 5 and 7)."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from gevent.event import Event as Flag

from realtime.cursor import Cursor
from realtime.event import Event
from realtime.frames import frame
from realtime.visit import Visit

if TYPE_CHECKING:
    from realtime.hub import Hub

logger = logging.getLogger(__name__)

PING = 15.0  # seconds, +-20 %
FARTHEST = 10_000  # events that a reader may be behind and still be caught up
LIFETIME = (480.0, 600.0)  # seconds, then the stream is rotated
RETRY = (2000, 5000)  # ms, random: a crowd must not come back at once
PASSING = 256 * 1024  # bytes besides the log that wait for a reader; then it is told the whole anew
WRITE = 32 * 1024  # bytes of events to go out together, at most a frame more: a replay of 10,000 is mostly writing

# What a stream carries as id from a reset on, the cursor of no log's life. A client that ignored the reset, or lost the
# connection before it had read everything anew, is told again when it comes back, and is never fooled.
STALE = Cursor("reset", 0)

Filter = Callable[[Event], bool]


class Stream:
    """What to send, and when. It writes nothing itself: whoever holds the connection drives it.

    `serve` is for a WSGI server, which iterates it; a hub that owns sockets may call `pump` instead whenever `wake`
    is called. `cursor` is what the client showed, `grant` by what it was let in, `owner` the user
    who counts for it, `page` which of the user's pages it serves (empty: unknown), `focus` the threads whose answers
    it shows while they are written.
    """

    def __init__(
        self,
        hub: Hub,
        log: str,
        grant: str,
        cursor: str | None,
        shows: Filter,
        conn: str,
        owner: str = "",
        page: str = "",
        kind: str = "everything",
        focus: Collection[str] = (),
    ) -> None:
        self.grant = grant
        self.owner = owner
        self.page = page and f"{owner}/{page}"  # nobody ends the streams of another's page
        self.focus = frozenset(focus)
        self._passing: list[Event] = []  # what is due besides the log
        self._passing_bytes = 0
        self._owes_partials = bool(focus)  # what is being written is to be told from its beginning
        self.is_replaced = False  # by a newer stream of the same page
        self.opened_ms = time.time_ns() // 1_000_000
        self.cursor: Cursor | None = None  # where the reader is; None before it has joined
        self._visit = Visit(kind, conn)
        self._hub = hub
        self._log = log
        self._shown = cursor
        self._shows = shows
        self._conn = conn
        self._woken = Flag()
        self._ending: str | None = None  # why; empty if there is nobody to tell
        self._reset: str | None = None
        self._is_stale = False  # reset: until it has read everything anew, the reader cannot be continued

    @property
    def member(self) -> str:
        """What it counts as among its owner's streams: all of one page count as one."""
        return self.page or self._conn

    def wake(self) -> None:
        """Something may be due."""
        self._woken.set()

    def offer(self, event: Event) -> None:
        """Take what has no place in the log, if the reader looks there; one who is behind is told the whole later."""
        if event.thread_id not in self.focus:
            return
        size = self._passing_bytes + len(event.data)
        if self.cursor is None or self.pos < self.tail.last or (self._passing and size > PASSING):
            self._passing, self._passing_bytes, self._owes_partials = [], 0, True
        else:
            self._passing.append(event)
            self._passing_bytes = size
        self.wake()

    def hang_up(self, reason: str = "") -> None:
        """End the stream: with a `bye` that gives the reason, or without a word if the reader is gone."""
        if self._ending is None:
            self._ending = reason
            self.wake()

    def reset(self, reason: str) -> None:
        """The log has begun anew: what the reader has cannot be continued."""
        self._reset = reason
        self.wake()

    def serve(self) -> Iterator[bytes]:
        """Yield one frame at a time until the stream ends. What goes wrong ends it too: the reader comes back."""
        with self._visit as visit:
            for piece in self._serve():
                yield visit.hands_over(piece)
            visit.end = self._end

    def _serve(self) -> Iterator[bytes]:
        try:
            with self._hub.watch(self._log, self) as self.tail:
                yield from self._join()
                yield from self._live()
            if self._ending:
                yield bye(self._ending, self._last_known)
        except OSError as error:
            logger.warning("stream %s of log %s broke off: %s", self._conn, self._log, error)
            yield bye("limit", self._last_known)
        except Exception:
            logger.exception("stream %s of log %s broke off", self._conn, self._log)
            yield bye("limit", self._last_known)

    @property
    def _end(self) -> str:
        """Why it has ended, in a word."""
        if self.is_replaced:
            return "replaced"
        return "failed" if self._ending is None else self._ending or "gone"

    def _live(self) -> Iterator[bytes]:
        rotate_at = time.monotonic() + random.uniform(*LIFETIME)
        ping_at = next_ping()
        while self._ending is None:
            self._woken.clear()  # before looking: whatever comes after this look wakes us again
            yield from self.pump()
            self._visit.catches_up()
            yield from self._pass()
            self._woken.wait(max(0.0, min(ping_at, rotate_at) - time.monotonic()))
            if time.monotonic() >= rotate_at:
                self.hang_up("rotate")
            elif time.monotonic() >= ping_at and self._ending is None:
                yield self._frame("ping", {"head": str(Cursor(self.tail.epoch, self.tail.wanted))})
                ping_at = next_ping()

    def pump(self) -> Iterator[bytes]:
        """Yield what is due, frame by frame or several at once, until the reader has all that the tail has.

        Joining, falling behind and overflow are the same case: a `pos` that is not yet `last`.
        """
        while self._ending is None and (self._reset is not None or self.pos < self.tail.last):
            if self._reset is not None:
                yield self._start_anew(self._reset)
            else:
                yield from self._pass_on(self.tail.recall(self.pos) or self._replay())

    def _pass(self) -> Iterator[bytes]:
        """Yield what is due besides the log. Only here the reader has all of that, so nothing overtakes it."""
        if self._owes_partials and self._ending is None:
            self._owes_partials = False
            self._passing = [*self._hub.partials(self.focus), *self._passing]
        if self._passing and self._ending is None:
            passing, self._passing, self._passing_bytes = self._passing, [], 0
            yield b"".join(event.framed_at(self._last_known) for event in passing)

    @property
    def pos(self) -> int:
        """The seq up to which the reader has been served, whether or not the filter has shown it all of them."""
        return self.cursor.seq if self.cursor else 0

    @property
    def epoch(self) -> str:
        """The life of the log that the reader knows; the tail may be in another already."""
        return self.cursor.epoch if self.cursor else ""

    def _join(self) -> Iterator[bytes]:
        """Set `pos` from the cursor that the client showed and greet it; a cursor we cannot continue is reset."""
        shown = Cursor.parse(self._shown) if self._shown else None
        trouble = self._trouble_with(shown)
        self.cursor = shown if shown and not trouble else self.tail.cursor
        ready = {"head": str(self.tail.cursor), "ping": PING, "conn": self._conn}
        yield frame("ready", ready, None if trouble else str(self.cursor))
        if trouble:
            yield self._start_anew(trouble)
        else:
            self._visit.joins(shown is not None, self.pos < self.tail.last)

    def _trouble_with(self, shown: Cursor | None) -> str | None:
        if shown is None:
            return "malformed" if self._shown else None
        if shown.epoch != self.tail.epoch:
            return "epoch"
        if shown.seq > self.tail.wanted:
            return "future"
        return "too_far" if self.tail.wanted - shown.seq > FARTHEST else None

    def _replay(self) -> Sequence[Event]:
        """Read on in the store. A slot is held while reading, never while writing: a slow reader keeps none."""
        self._visit.reads_on()
        page = self.tail.replay(self.pos, self._hub.replays)
        if self._reset is not None:
            return ()
        if page is None or page.head.epoch != self.epoch or not page.events:
            self._reset = "epoch" if page and page.head.epoch != self.epoch else "pruned"
            return ()
        self.tail.remember(page.events)
        return page.events

    def _pass_on(self, events: Iterable[Event]) -> Iterator[bytes]:
        """Write events, several at once; a single one as the very bytes that all its readers share."""
        due: list[bytes] = []
        for event in events:
            if self._shows(event):
                due.append(self._framed(event))
                self._visit.passes_on(event)
            self.cursor = Cursor(self.epoch, event.seq)  # also past those that the filter hides
            if sum(map(len, due)) >= WRITE:
                yield b"".join(due)
                due = []
                if self._reset is not None or self._ending is not None:
                    return
        if due:
            yield b"".join(due)

    def _framed(self, event: Event) -> bytes:
        if self._is_stale:
            return frame(event.kind, event.data, str(STALE))
        return event.framed(self.epoch)

    def _start_anew(self, reason: str) -> bytes:
        self._visit.is_reset(reason)
        self._reset = None
        self._is_stale = True
        self.cursor = self.tail.cursor
        return self._frame("reset", {"reason": reason, "head": str(self.tail.cursor)})

    @property
    def _last_known(self) -> str | None:
        """The reader's cursor, for its last frame: an older one would bring it back too far, so doubling events."""
        cursor = STALE if self._is_stale else self.cursor or Cursor.parse(self._shown or "")
        return str(cursor) if cursor else None

    def _frame(self, event: str, data: object) -> bytes:
        return frame(event, data, self._last_known)


def bye(reason: str, cursor: str | None = None) -> bytes:
    """The last frame of a stream: why it ends and when to come back."""
    retry_ms = random.randint(*RETRY)
    return frame("bye", {"reason": reason, "retry_ms": retry_ms}, cursor, retry_ms)


def next_ping() -> float:
    return time.monotonic() + PING * random.uniform(0.8, 1.2)
