"""Writes one event as the bytes of a text/event-stream, for every wire we speak.

Source: HTML Living Standard, section 9.2 "Server-sent events"
(https://html.spec.whatwg.org/multipage/server-sent-events.html). Clients misread what the standard allows but
few servers send, so we keep to the part that all of them read alike: LF only, `data: ` with its space, data
in one line, no block without data.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

# 9.2.6: an id with NUL is ignored; CR and LF would start a new field. Long ids come back in a request header,
# which servers limit (gunicorn: 8,190 bytes), and a refused request ends an EventSource for good.
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_EVENT = re.compile(r"[a-z_.]{1,32}")

# 9.2.2: EventSource fires `open` and `error` itself, so a page cannot tell ours from a broken connection.
_RESERVED = frozenset({"open", "error"})

# No line ends in 9.2.5, but for clients that split with str.splitlines() they are. In JSON all three can
# stand only inside a string, and UTF-8 is self-synchronising, so replacing bytes is exact.
_LINE_ENDS_ELSEWHERE = (
    (b"\xc2\x85", b"\\u0085"),
    (b"\xe2\x80\xa8", b"\\u2028"),
    (b"\xe2\x80\xa9", b"\\u2029"),
)

_encode_json = msgspec.json.Encoder().encode


class FrameError(ValueError):
    """What was to be sent would not arrive as what it is."""


def frame(event: str, data: Any, id: str | None = None, retry: int | None = None) -> bytes:
    """Encode one event as one block, to be sent in one write.

    `data` is anything msgspec can write as JSON; `retry` is in milliseconds.
    Raises FrameError for an event, id, retry or data that a client would misread.
    """
    lines = [b"event: " + _checked_event(event)]
    if retry is not None:
        lines.append(b"retry: " + _checked_retry(retry))
    lines.append(b"data: " + _one_line(data))
    # The id comes last: some clients keep it at once, and a cut behind it must not cost them the data.
    if id is not None:
        lines.append(b"id: " + _checked_id(id))
    return b"\n".join(lines) + b"\n\n"


def _checked_event(event: str) -> bytes:
    if not _EVENT.fullmatch(event):
        raise FrameError(f"event name {event!r} is not 1 to 32 of a-z, _ and .")
    if event in _RESERVED:
        raise FrameError(f"event name {event!r} belongs to EventSource itself")
    return event.encode("ascii")


def _checked_id(id: str) -> bytes:
    if not _ID.fullmatch(id):
        raise FrameError(f"event id {id!r} is not 1 to 64 of A-Z, a-z, 0-9, ., _ and -")
    return id.encode("ascii")


def _checked_retry(retry: int) -> bytes:
    # 9.2.6 wants ASCII digits only. Zero: a browser asks again without a pause (Chromium: 30 times at once).
    if retry < 1:
        raise FrameError(f"retry of {retry} ms is not above 0")
    return b"%d" % retry


def _one_line(data: Any) -> bytes:
    """Write `data` as JSON without any line end, in whatever way the reader splits lines."""
    try:
        line = _encode_json(data)
    except UnicodeEncodeError as error:
        raise FrameError("data holds a lone surrogate, which UTF-8 cannot carry") from error
    # Only a msgspec.Raw, which is passed on as it is, can bring its own line ends.
    if b"\n" in line or b"\r" in line:
        raise FrameError("data is ready-made JSON of more than one line")
    for character, escape in _LINE_ENDS_ELSEWHERE:
        line = line.replace(character, escape)
    return line
