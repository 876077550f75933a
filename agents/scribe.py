"""Writes answers that come word by word: readers are told at once, the store once a second and at every end.

The store is the truth here, too: what a reader is told names from where the store does not know it yet (chat/pen.py),
so a worker that dies takes with it a second of an answer at most, and the agent is told from where to say it again.
An answer that somebody else has ended, or goes on with, is lost to us: we hear of it by the bus, or ask the store.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import gevent
import msgspec
from gevent.event import Event as Flag
from gevent.lock import BoundedSemaphore
from msgspec.structs import replace
from sqlalchemy.orm import Session

from chat import drafts, log, runs
from chat.drafts import Behind
from chat.errors import Invalid
from chat.events import Done, Said
from chat.models import Agent, Message
from chat.pen import Frame, Mark, Pen, is_text
from chat.store import Store, StoreAway, T
from realtime.event import Event

logger = logging.getLogger(__name__)

ROLL_UP = (0.02, 0.1)  # seconds of text in one frame, at least and, unless telling itself takes longer, at most
SAVE = 1.0  # seconds
SWEEP = 0.1  # seconds between two looks for answers whose turn it is
FEW = 20  # answers that may be saved together, or a fifth of all: a hundred at once would hold up everybody else
SIGN = 10.0  # seconds at most between two signs of life of an answer to which nothing is added
PATIENCE = 30.0  # seconds to wait for a store that is away
AGAIN = 0.5  # seconds between two tries

Ring = Callable[[str, str, Event], None]


class Writing:
    """One answer that comes in. `take` its events in their order.

    `when_over` is told what to call when there is nothing more to take: the answer is lost to us, or this worker stops.
    That must not wait.
    """

    def __init__(self, scribe: Scribe, pen: Pen) -> None:
        self._scribe, self.pen = scribe, pen
        self.saving = BoundedSemaphore(1)
        self.saved_at = self.looked_at = time.monotonic()
        self.is_lost = False
        self.is_left = False  # here: it is to go on elsewhere
        self._hang_up: Callable[[], object] = lambda: None

    def when_over(self, hang_up: Callable[[], object]) -> None:
        self._hang_up = hang_up
        if self._scribe.is_draining:
            self.leave()
        elif self.is_lost:
            hang_up()

    def take(self, event: Said) -> Message | None:
        """Take the next event; return the message if it ended the answer.

        Raises Behind if the answer has ended or another writes it now, Invalid when it becomes too long, StoreAway.
        """
        self.check()
        if event.is_last:
            return self._finish(event)
        if not self.pen.joins(event):
            self._scribe.save(self)
            self.check()
        if is_text(event):
            self.pen.add(event)
            self._scribe.tell_soon(self)
        else:
            self._scribe.save_with(self, event)
            self.check()
        return None

    def check(self) -> None:
        if self.is_lost and self._scribe.is_open(self.pen.run_id):
            raise Behind("taken_over", "another request goes on with this answer", self.pen.saved_count)
        if self.is_lost:
            raise Behind("run_ended", "this answer has ended; to say more, begin a new run", self.pen.saved_count)

    def lose(self) -> None:
        """Somebody else has ended it, or goes on with it. What was told is handed in. Never waits."""
        if not self.is_lost:
            self.is_lost = True
            self._hang_up()
            if self.pen.has_told_words:
                gevent.spawn(self._scribe.hand_in, self)

    def leave(self) -> None:
        """It is to go on elsewhere. Never waits."""
        self.is_left = True
        self._hang_up()

    def _finish(self, last: Said) -> Message | None:
        if isinstance(last, Done) and last.count not in (None, self.pen.count):
            raise Behind(
                "incomplete", f"its end counts {last.count} events, and {self.pen.count} have come", self.pen.count
            )
        with self.saving:
            self.check()
            pen, before = self.pen, replace(self.pen.draft)
            pen.add(last)
            self.is_lost = True
            try:
                return self._scribe.persist(lambda s: drafts.complete(s, pen, last))
            except Behind:  # somebody was faster: what has been told by then is theirs to keep
                pen.take_back(before)
                self._scribe.persist(lambda s: drafts.hand_in(s, pen))
                raise
            except Invalid:
                pen.take_back(before)
                self.is_lost = False
                raise


class Scribe:
    """One a worker. `ring` tells readers what stands nowhere in their log.

    An answer to which nothing is added, though its agent is there, gives a sign of life well within `pause_seconds`.
    """

    def __init__(self, store: Store, ring: Ring, pause_seconds: float) -> None:
        self._store, self._ring = store, ring
        self._sign_seconds = min(SIGN, pause_seconds / 6)
        self.is_draining = False
        self._writings: dict[str, Writing] = {}  # by run
        self._untold: dict[str, Writing] = {}
        self._woken = Flag()

    def start(self) -> None:
        gevent.spawn(self._tell_for_ever)
        gevent.spawn(self._save_for_ever)

    @contextmanager
    def writing(
        self, agent: Agent, thread_id: str, run_id: str, index: int = 0, writer: str | None = None
    ) -> Iterator[Writing]:
        """Go on with an answer at its event number `index`, or begin one. What is not saved at the end is saved.

        Raises NotFound, and Behind if fewer events are here, or the run has ended.
        """
        pen = self.persist(lambda s: drafts.take_pen(s, agent, thread_id, run_id, index, writer))
        self.end(pen.run_id)  # whoever wrote it here until now
        writing = self._writings[pen.run_id] = Writing(self, pen)
        try:
            yield writing
        finally:
            writing.when_over(lambda: None)  # whoever has spoken may speak of something else by now
            if self._writings.get(pen.run_id) is writing:
                del self._writings[pen.run_id]
            if not writing.is_lost and not pen.is_saved:
                self.save(writing)

    def end(self, run_id: str) -> None:
        """This run has been ended, or is gone on with, by another."""
        if writing := self._writings.get(run_id):
            writing.lose()

    def hand_in(self, writing: Writing) -> None:
        with writing.saving:
            self.persist(lambda s: drafts.hand_in(s, writing.pen))

    def is_open(self, run_id: str) -> bool:
        """Is the run still to be answered, by whomever?"""
        return self._store.peek(lambda s: runs.is_open(s, run_id))

    def drain(self) -> None:
        """This worker stops: let everybody go on elsewhere."""
        self.is_draining = True
        for writing in list(self._writings.values()):
            writing.leave()

    def tell_soon(self, writing: Writing) -> None:
        self._untold[writing.pen.run_id] = writing
        self._woken.set()

    def save(self, writing: Writing) -> None:
        """Save what there is of this answer."""
        with writing.saving:
            self._save([writing])

    def save_with(self, writing: Writing, event: Said) -> None:
        """Save an event that is told only then."""
        with writing.saving:
            pen = writing.pen
            pen.add(event)
            mark, frame, content = pen.mark(), pen.frame(), msgspec.json.encode(pen.draft).decode()

            def work(session: Session) -> bool:
                may = drafts.save_with(session, pen, content, event)
                if may and frame:
                    log.tell(session, pen.log, frame.kind, pen.thread_id, frame.data)
                return may

            try:
                self._settle(writing, mark, self.persist(work))
            except StoreAway:  # as text alone it would be saved later, without what it does besides
                writing.is_lost = True
                raise

    def _save(self, writings: Sequence[Writing]) -> None:
        """Their `saving` is held. Readers have been told all text before the store has it: then none of it is new."""
        marks = [(writing, writing.pen.mark()) for writing in writings]
        written = [(w.pen, w.pen.count, msgspec.json.encode(w.pen.draft).decode()) for w in writings]
        for writing in writings:
            if frame := writing.pen.frame():
                self._tell(writing.pen, frame)
        lost = self.persist(lambda s: drafts.save(s, written))
        for writing, mark in marks:
            self._settle(writing, mark, writing.pen not in lost)

    def _settle(self, writing: Writing, mark: Mark, is_ours: bool) -> None:
        """The store has all that there was at `mark`, if it was still ours to write."""
        if is_ours:
            writing.pen.saved(mark)
            writing.saved_at = time.monotonic()
        else:
            writing.lose()

    def persist(self, work: Callable[[Session], T]) -> T:
        """Run a transaction; wait for a store that is away, for some time. Raises StoreAway."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return self._store.write(work)
            except StoreAway:
                if time.monotonic() > deadline:
                    raise
                gevent.sleep(AGAIN)

    def _tell_for_ever(self) -> None:
        rest, longest = ROLL_UP
        while True:
            self._woken.wait()
            self._woken.clear()
            began = time.monotonic()
            untold, self._untold = self._untold, {}
            for writing in untold.values():
                try:
                    self._tell_of(writing)
                except Exception:  # of one answer; the others go on, and this one is saved all the same
                    logger.exception("what is being written cannot be told")
            told = time.monotonic()
            rest = max(rest, told - began)  # with many answers, half the time is others'
            gevent.sleep(rest)
            # A loop that is late has too much to do: fewer frames, of more words, are less.
            rest = min(longest, ROLL_UP[0] + 2 * (time.monotonic() - told - rest))

    def _tell_of(self, writing: Writing) -> None:
        if not writing.is_lost and (frame := writing.pen.frame()):
            self._tell(writing.pen, frame)

    def _tell(self, pen: Pen, frame: Frame) -> None:
        self._ring(pen.log, "", Event(0, frame.kind, pen.thread_id, msgspec.Raw(msgspec.json.encode(frame.data))))

    def _save_for_ever(self) -> None:
        while True:
            gevent.sleep(SWEEP)
            try:
                self._save_those_due()
            except StoreAway as error:
                logger.warning("answers that are being written cannot be saved; in a second again: %s", error)
            except Exception:
                logger.exception("answers that are being written cannot be saved; in a second again")

    def _save_those_due(self) -> None:
        """Save what has grown, give a sign of life for what has not for long, and look after the rest."""
        now = time.monotonic()
        turn = self._next(now)
        for writing in turn:
            writing.looked_at = now
        due = [w for w in turn if not w.pen.is_saved or w.saved_at < now - self._sign_seconds]
        due = [writing for writing in due if writing.saving.acquire(blocking=False)]
        try:
            if due:
                self._save(due)
        finally:
            for writing in due:
                writing.saving.release()
        quiet = [writing for writing in turn if writing not in due]
        held = self._store.peek(lambda s: drafts.held_by(s, [w.pen for w in quiet])) if quiet else set()
        for writing in quiet:
            if writing.pen.run_id not in held:
                writing.lose()

    def _next(self, now: float) -> list[Writing]:
        """Whose turn it is: with one that is due those that will be soon, since few large commits cost less."""
        open_ones = sorted((w for w in self._writings.values() if not w.is_lost), key=lambda w: w.looked_at)
        if not open_ones or open_ones[0].looked_at > now - SAVE:
            return []
        few = open_ones[: max(FEW, len(open_ones) // 5)]
        return [writing for writing in few if writing.looked_at <= now - SAVE / 2]
