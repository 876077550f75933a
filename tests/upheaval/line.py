"""One connection to a stream: bytes that wait on the way, read so many at a time, cut anywhere."""

from __future__ import annotations

from collections.abc import Mapping

import gevent
from gevent.event import Event as Flag

from realtime.cursor import Cursor
from realtime.stream import Stream
from tests import sse

WINDOW = 2_000  # bytes that are on the way before the worker has to wait
EVENTS = ("message", "thread", "run", "read")


class Line:
    """A stream being served, and the parser at its other end."""

    def __init__(self, stream: Stream, last_event_id: str) -> None:
        self.parser = sse.EventStream(last_event_id)
        self.is_over = False
        self._stream = stream
        self._sent = bytearray()
        self._has_room = Flag()
        self._greenlet = gevent.spawn(self._serve)

    def _serve(self) -> None:
        for block in self._stream.serve():
            self._sent += block
            while len(self._sent) > WINDOW:
                self._has_room.clear()
                self._has_room.wait()
        self.is_over = True

    @property
    def waiting(self) -> int:
        """Bytes that could be read now."""
        return len(self._sent)

    def read(self, size: int) -> list[sse.Event]:
        chunk = bytes(self._sent[:size])
        del self._sent[:size]
        self._has_room.set()
        return self.parser.feed(chunk)

    def wake(self) -> None:
        self._stream.wake()

    def cut(self) -> None:
        """What is still on the way is lost."""
        self._stream.hang_up()
        self._sent.clear()
        self._has_room.set()


class Witness:
    """Holds a connection to its promises: each event once, in order, none left out, no id ahead of what was sent."""

    def __init__(self, shown: str, threads_of: Mapping[str, Mapping[int, str]], thread_id: str | None) -> None:
        self._threads_of = threads_of
        self._thread_id = thread_id  # None: all of them
        self._at = Cursor.parse(shown)
        self._greeted = self._was_reset = False

    def see(self, frame: sse.Event) -> None:
        if not self._greeted and frame.event != "bye":
            assert frame.event == "ready", f"{frame.event} before ready"
            self._greeted = True
        if frame.event == "reset":
            self._was_reset = True
            return
        place = Cursor.parse(frame.id)
        if self._was_reset or not place:
            assert frame.event not in EVENTS or self._was_reset, f"{frame} has no place"
            return
        assert self._at
        assert place.epoch == self._at.epoch, f"{frame} of another life, at {self._at}"
        due = self._due(frame.event in EVENTS)
        if frame.event in EVENTS:
            assert place.seq == due, f"{frame} where {due} is due, after {self._at}"
        else:
            assert place.seq >= self._at.seq, f"{frame} goes back, at {self._at}"
            assert due is None or place.seq < due, f"{frame} is ahead of {due}, at {self._at}"
        self._at = place

    def _due(self, is_event: bool) -> int | None:
        """The next seq to be shown, as the log has it."""
        assert self._at
        threads = self._threads_of[self._at.epoch]
        later = (seq for seq in threads if seq > self._at.seq and self._thread_id in (None, threads[seq]))
        return min(later, default=None)
