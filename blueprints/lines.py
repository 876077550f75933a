"""A request's body line by line, as it arrives.

WSGI's own `read` waits for as many bytes as it was asked for, so a short line comes with those that follow it, seconds
late. Gunicorn's readers have what has come; another server's body is read by its `readline`.

A connection is not looked at for every word: those of a moment are read together (README, "Why it is so").
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
from gunicorn.http.body import Body, ChunkedReader, LengthReader
from gunicorn.http.unreader import Unreader

from chat.errors import Invalid

MOMENT = 0.06  # seconds at least between two looks at a connection
TURN = 2048  # bytes of lines, after which others of this worker have theirs: what is there is read without a wait


def pieces(body: Any) -> Iterator[bytes]:
    """The body's bytes, as they come. Raises OSError or gunicorn's ParseException if it breaks off."""
    reader = getattr(body, "reader", None)
    if isinstance(reader, ChunkedReader):
        reader.parser = reader.parse_chunked(Unhurried(reader.req.unreader))
        while reader.parser:
            piece = next(reader.parser, None)
            if piece is None:
                reader.parser = None
            else:
                yield piece
    elif isinstance(reader, LengthReader):
        yield from measured(reader, Unhurried(reader.unreader))
    else:
        yield from iter(body.readline, b"")


class Unhurried:
    """Gunicorn's way to a connection, but two reads are at least a moment apart, unless there is much to be read."""

    def __init__(self, unreader: Unreader) -> None:
        self._unreader = unreader
        self._next_at = 0.0
        self.unread = unreader.unread

    def read(self, size: int | None = None, read_ahead: int | None = None) -> bytes:
        if (rest := self._next_at - time.monotonic()) > 0:
            gevent.sleep(rest)
        piece: bytes = self._unreader.read(size, read_ahead)
        self._next_at = time.monotonic() + MOMENT if len(piece) < TURN else 0.0
        return piece


def measured(reader: LengthReader, unreader: Unhurried) -> Iterator[bytes]:
    while reader.length:
        piece = unreader.read(None, read_ahead=reader.length)
        if not piece:
            raise ConnectionResetError("the body ended too early")
        unreader.unread(piece[reader.length :])  # the next request's
        piece = piece[: reader.length]
        reader.length -= len(piece)
        yield piece


def lines(body: Any, limit: int, read: Callable[[bytes], bytes] = bytes.strip) -> Iterator[bytes]:
    """What the body's lines say, as they come: `read` tells it of one without its end; nothing, if it says nothing.

    Raises Invalid for a line of more than `limit` bytes, and for more than that in lines that say nothing.
    If it is closed before the body's end, the connection takes no other request: the rest would be read as one. A
    chunked body's answer says so.
    """
    rest, idle, read_on = b"", 0, 0
    try:
        for piece in pieces(body):
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                read_on += len(line) + 1
                if read_on > TURN:
                    gevent.sleep(0)
                    read_on = 0
                said = read(checked(line, limit))
                idle = 0 if said else idle + len(line) + 1
                if said:
                    yield said
                elif idle > limit:
                    raise Invalid("empty", f"there must be an event in {limit:,} bytes")
            checked(rest, limit)
    except BaseException:
        if isinstance(body, Body):
            body.failed = True
        if isinstance(reader := getattr(body, "reader", None), ChunkedReader):
            reader.req.force_close()
        raise
    if said := read(rest.strip()):
        yield said


def checked(line: bytes, limit: int) -> bytes:
    if len(line) > limit:
        raise Invalid("too_long", f"a line must have at most {limit:,} bytes")
    return line.strip()
