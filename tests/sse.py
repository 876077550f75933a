"""Reads a text/event-stream exactly as the HTML Living Standard, section 9.2, says: the tests' own client.

It shares no code with realtime/frames.py, so that one can prove the other.
"""

from __future__ import annotations

import codecs
import json
import re
from dataclasses import dataclass
from typing import Any

END_OF_LINE = re.compile("\r\n|\r|\n")  # 9.2.5: end-of-line = ( cr lf / cr / lf )


@dataclass(frozen=True)
class Event:
    """One dispatched event; `retry` is what its own block asked for, in milliseconds."""

    id: str
    event: str
    data: str
    retry: int | None = None

    @property
    def json(self) -> Any:
        return json.loads(self.data)


class EventStream:
    """The parser of 9.2.6, fed with bytes cut anywhere.

    `last_event_id` is what a reconnecting client would send; `retry` the latest reconnection time, in ms.
    """

    def __init__(self, last_event_id: str = "") -> None:
        self.last_event_id = last_event_id
        self.retry: int | None = None
        # 9.2.5: "Streams must be decoded using the UTF-8 decode algorithm", which drops one leading BOM.
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._line = ""
        self._after_cr = False
        self._id = last_event_id
        self._new_block()

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that this chunk completes, oldest first."""
        return [event for line in self._lines(self._decoder.decode(chunk)) if (event := self._end_of_line(line))]

    def _lines(self, text: str) -> list[str]:
        """The lines that this ends. A line is over at CR; a LF right behind it belongs to it."""
        if self._after_cr and text:
            text, self._after_cr = text.removeprefix("\n"), False
        if text:
            self._after_cr = text.endswith("\r")
        *lines, begun = END_OF_LINE.split(text)
        if lines:
            lines[0], self._line = self._line + lines[0], ""
        self._line += begun
        return lines

    def _new_block(self) -> None:
        self._event = ""
        self._data = ""
        self._block_retry: int | None = None

    def _end_of_line(self, line: str) -> Event | None:
        if not line:
            return self._dispatch()
        # "If the line starts with a U+003A COLON character (:), ignore the line."
        if not line.startswith(":"):
            name, _, value = line.partition(":")
            # "If value starts with a U+0020 SPACE character, remove it from value." One, not all.
            self._field(name, value.removeprefix(" "))
        return None

    def _field(self, name: str, value: str) -> None:
        if name == "event":
            self._event = value
        elif name == "data":
            self._data += value + "\n"
        # "If the field value does not contain U+0000 NULL, then set the last event ID buffer"
        elif name == "id" and "\0" not in value:
            self._id = value
        # "If the field value consists of only ASCII digits"
        elif name == "retry" and re.fullmatch(r"[0-9]+", value):
            self.retry = self._block_retry = int(value)

    def _dispatch(self) -> Event | None:
        self.last_event_id = self._id
        event, data, retry = self._event or "message", self._data, self._block_retry
        self._new_block()
        # "If the data buffer is an empty string, set the data buffer and the event type buffer to the empty
        # string and return." Else its last LF goes.
        return Event(self._id, event, data.removesuffix("\n"), retry) if data else None


def parse(stream: bytes) -> list[Event]:
    """Read a whole stream; what no empty line ended is dropped, as 9.2.6 says."""
    return EventStream().feed(stream)
