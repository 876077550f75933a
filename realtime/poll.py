"""Long polling: what a stream tells, in many short answers of JSON, for those whose streams do not come through."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from realtime.stream import Stream

COLLECT = 0.05  # seconds: what happens together is told together
WRITING = 0.25  # seconds of an answer that is being written: no eye reads faster, and every answer costs a request
GLANCE = 1.0  # seconds after which it is told again what is being written: words said between two polls reach neither
READING = 2.0  # seconds that the store may take
FULL = 1024 * 1024  # bytes, then the reader has to ask for the rest


class Poll(Stream):
    """A stream that ends soon after it has told something, and at the latest after `seconds`."""

    def __init__(self, *about: Any, seconds: float, **more: Any) -> None:
        super().__init__(*about, **more)
        self._over_at = time.monotonic() + seconds
        self._is_answered = False

    def answer(self) -> dict[str, Any]:
        """Wait for what is to be told, and return it with the cursor to go on from; no events if nothing happened."""
        events = entries(self.serve())
        nothing = bool(self._shown) and [event["event"] for event in events] == ["ready"]
        return {"events": [] if nothing else events, "cursor": self._last_known}

    def _live(self) -> Iterator[bytes]:
        size, owed = 0, self._owes_partials
        if self._is_stale or not self._shown:
            self._end_within(0.0)  # it has been told where it is
        while self._ending is None:
            self._woken.clear()  # before looking: whatever comes after this look wakes us again
            for piece in self.pump():
                yield piece
                self._end_within(COLLECT)
                if (size := size + len(piece)) >= FULL:
                    self._end_within(0.0)
                    break
            else:
                self._visit.catches_up()
                for piece in self._pass():
                    yield piece
                    self._end_within(GLANCE if owed else WRITING)
                owed = False
            if self._left <= 0:
                self._is_answered = True
                return
            self._woken.wait(self._left)

    @property
    def _left(self) -> float:
        """Seconds; some more as long as the tail is still reading what is known to be there."""
        return self._over_at - time.monotonic() + (READING if self.tail.last < self.tail.wanted else 0.0)

    def _end_within(self, seconds: float) -> None:
        self._over_at = min(self._over_at, time.monotonic() + seconds)

    @property
    def _end(self) -> str:
        return "answered" if self._is_answered else super()._end


def entries(pieces: Iterable[bytes]) -> list[dict[str, Any]]:
    """The frames in these pieces of a stream."""
    return [entry(block) for piece in pieces for block in piece.split(b"\n\n") if block]


def entry(block: bytes) -> dict[str, Any]:
    """One frame, as frames.py writes it: a field in a line."""
    fields = dict(line.split(b": ", 1) for line in block.split(b"\n"))
    id = fields.get(b"id")
    return {"event": fields[b"event"].decode(), "id": id and id.decode(), "data": msgspec.Raw(fields[b"data"])}
