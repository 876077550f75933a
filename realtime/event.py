"""An entry of a log as it travels: read from the store or carried by a ring, then framed for its readers."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from realtime.cursor import Cursor
from realtime.frames import frame


class Event(msgspec.Struct, eq=False):
    """`data` is one line of JSON, encoded once where the event was made and never decoded on its way.

    What stands in no log, but is told to those who are there, has the seq 0. `at` is when it was committed (clock.py),
    if it was rung and nobody has measured how long that took.
    """

    seq: int
    kind: str
    thread_id: str
    data: msgspec.Raw
    at: str = ""
    _framed: bytes | None = None
    _cursor: str | None = None

    def framed(self, epoch: str) -> bytes:
        """As a frame of the native dialect, made once however many read it. Raises FrameError."""
        if self._framed is None:
            self._framed = frame(self.kind, self.data, str(Cursor(epoch, self.seq)))
        return self._framed

    def framed_at(self, cursor: str | None) -> bytes:
        """As a frame that repeats where its reader is: the same for all who are at the same place."""
        if self._framed is None or self._cursor != cursor:
            self._framed, self._cursor = frame(self.kind, self.data, cursor), cursor
        return self._framed


class Head(NamedTuple):
    """Where a log stands: which life of it, its newest seq, and the seq below which nothing is kept."""

    epoch: str
    seq: int
    floor: int


class Page(NamedTuple):
    """Some consecutive events of a log, oldest first, and the head read in the same transaction before them."""

    head: Head
    events: list[Event]
