"""Readers of Alice's log, as a page and as a plain EventSource would be: they come, are cut off, and come back."""

from __future__ import annotations

from typing import Any

from blueprints.pages import page_state
from chat import messages
from chat.errors import NotFound
from realtime.cursor import Cursor
from realtime.stream import Stream
from tests import sse
from tests.upheaval.line import EVENTS, Line, Witness
from tests.upheaval.mirror import Mirror
from tests.upheaval.world import World

Shown = dict[str, Any]
GRANT = "session:alice"


class Client:
    """Holds a snapshot and the cursor that came with it, applies what it reads, and begins anew when it is told to.

    `thread_id`: it reads the stream of that thread alone.
    """

    sends_header = True  # Last-Event-ID, so that its parser begins with it

    def __init__(self, world: World, thread_id: str | None = None) -> None:
        self.world = world
        self.thread_id = thread_id
        self.line: Line | None = None
        self.is_stale = True
        self._list: Shown | None = None  # of a GET whose second half is still to come
        self._cursor = ""
        self.fetch()
        self.fetch()

    def connect(self, worker: int) -> None:
        if self.line is not None or self.is_stale:
            return
        shows = (lambda event: event.thread_id == self.thread_id) if self.thread_id else (lambda event: True)
        stream = Stream(self.world.workers[worker], self.world.log, GRANT, self._cursor, shows, conn="c1")
        self._witness = Witness(self._cursor, self.world.threads_of, self.thread_id)
        self.worker = worker
        self.line = Line(stream, self._cursor if self.sends_header else "")

    def read(self, size: int) -> None:
        if self.line is None:
            return
        line = self.line
        for frame in line.read(size):
            self._witness.see(frame)
            if self.line is line:
                self._take(frame)
        if line.is_over and not line.waiting and self.line is line:
            self.cut()

    def cut(self) -> None:
        """The line breaks; what was being fetched beside it is lost with it."""
        if self.line is not None:
            self._hang_up()
            self.is_stale, self._list = False, None

    def fail(self) -> None:
        """The GET of a new state fails. The old cursor, or none, brings the reset again."""
        self.cut()

    def go_on(self) -> bool:
        """Do what it would do by itself; was there anything to do?"""
        if self.is_stale:
            self.fetch()
        elif self.line is None:
            self.connect(0)
        elif self.line.waiting or self.line.is_over:
            self.read(self.line.waiting)
        else:
            return False
        return True

    def wake(self) -> None:
        if self.line is not None:
            self.line.wake()

    def _hang_up(self) -> None:
        if self.line is not None:
            self.line.cut()
            self.line = None

    def _take(self, frame: sse.Event) -> None:
        """As an EventSource: it goes on reading after a reset, and keeps the id of every frame."""
        self._cursor = frame.id
        if frame.event == "reset":
            self.is_stale = True
        elif frame.event in EVENTS and not self.is_stale:
            self.mirror.apply(frame.event, seq_of(frame.id), frame.json)

    # A new state: the list, whose head is read first, and then the rooms

    def fetch(self) -> None:
        """Do the next half of it. Then the old connection is of no more use: its ids are of before."""
        if not self.is_stale:
            return
        if self._list is None:
            self._list = self.world.listed()
            return
        shown, self._list = self._list, None
        rooms = [room for thread in shown["items"] if (room := history(self.world, thread["id"]))]
        self._hang_up()
        self._begin(shown, rooms)

    def _begin(self, shown: Shown, rooms: list[Shown]) -> None:
        self.mirror = Mirror(shown["items"], rooms, seq_of(shown["cursor"]))
        self._cursor, self.is_stale = shown["cursor"], False

    @property
    def seen(self) -> Shown:
        return only(self.mirror.seen(), self.thread_id)


class Page(Client):
    """As our page does it (receive/connection.js): it hangs up at a reset and keeps its cursor until the state is here.

    `steps` is what came to it, for the page's own scripts to be held against.
    """

    sends_header = False  # a new EventSource each time, with the cursor in its address

    def __init__(self, world: World, open: str | None) -> None:
        self.open = open
        self.steps: list[tuple[Any, ...]] = []
        self._behind: int | None = None
        super().__init__(world)
        self.steps = [("page", self.state())]

    def connect(self, worker: int) -> None:
        if self.line is None and not self.is_stale:
            self._behind = None
            self.steps.append(("open", self._cursor))
            super().connect(worker)

    def cut(self) -> None:
        if self.line is not None:
            self.steps.append(("cut",))
        super().cut()

    def fail(self) -> None:
        """The GET of a new state fails: the old cursor will bring the reset again."""
        if self.is_stale:
            self.steps.append(("failed",))
            self.is_stale, self._list = False, None

    def _take(self, frame: sse.Event) -> None:
        self.steps.append(("frame", frame.event, frame.id, frame.data))
        if frame.event == "reset":
            self.is_stale = True
            self._hang_up()
        elif frame.event == "bye":
            self._hang_up()
        elif frame.event != "ready":
            self._hear(frame)

    def _hear(self, frame: sse.Event) -> None:
        self._cursor = frame.id
        if frame.event in EVENTS:
            self.mirror.apply(frame.event, seq_of(frame.id), frame.json)
            if frame.json.get("id") == self.open and frame.json["change"] == "deleted":
                self.open = None
        else:
            self._compare(seq_of(frame.json["head"]))

    def _compare(self, head: int) -> None:
        """Behind the same head at two pings running, it opens a new stream."""
        missed = self._behind is not None and seq_of(self._cursor) < self._behind
        self._behind = head if head > seq_of(self._cursor) else None
        if missed:
            self._hang_up()

    def _begin(self, shown: Shown, rooms: list[Shown]) -> None:
        super()._begin(shown, rooms)
        room = history(self.world, self.open) if self.open else None
        self.steps += [("list", shown), ("room", room)]
        self.open = self.open if room else None

    def state(self) -> Shown:
        """The page as the server would send it now."""
        return self.world.store.peek(lambda s: page_state(s, self.world.alice, self.open))


def history(world: World, thread_id: str) -> Shown | None:
    try:
        return world.store.peek(lambda s: messages.history(s, world.alice, thread_id, limit=200))
    except NotFound:
        return None


def only(seen: Shown, thread_id: str | None) -> Shown:
    """What belongs to the thread, or all of it. What its list says is told by the stream of everything alone."""
    if thread_id is None:
        return seen
    return {
        name: {id: each for id, each in seen[name].items() if each["thread_id"] == thread_id}
        for name in ("messages", "runs")
    }


def seq_of(cursor: str) -> int:
    place = Cursor.parse(cursor)
    assert place, cursor
    return place.seq
