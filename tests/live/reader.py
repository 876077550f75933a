"""Outside clients of a stream: one that reads a single connection, and one that always comes back by its cursor."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from http.client import HTTPConnection, HTTPException
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import gevent

from tests.sse import Event, EventStream
from tests.until import until

SILENCE = 60.0  # seconds; pings come more often


class Reader:
    """One connection. Opened by `open` or `with`; what it got is in `events`, how it ended in `end`."""

    def __init__(
        self,
        url: str,
        path: str = "/stream",
        token: str | None = None,
        cursor: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        parts = urlsplit(url)
        self._connection = HTTPConnection(parts.hostname or "", parts.port, timeout=SILENCE)
        self._path = path
        self._sent = {"Accept": "text/event-stream", **(headers or {})}
        if token:
            self._sent["Authorization"] = f"Bearer {token}"
        if cursor:
            self._sent["Last-Event-ID"] = cursor
        self._parser = EventStream(cursor)
        self._task: gevent.Greenlet | None = None
        self.events: list[Event] = []
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""  # of a refusal
        self.end = ""  # "clean": the body was ended as HTTP says; "cut": it was not

    def open(self) -> Reader:
        """Send the request and wait for the answer's head. Raises OSError or HTTPException when there is none."""
        self._connection.request("GET", self._path, headers=self._sent)
        self._response = self._connection.getresponse()
        self.status, self.headers = self._response.status, dict(self._response.headers)
        if self.status == 200:
            self._task = gevent.spawn(self._read)
        else:
            self.body = self._response.read()
        return self

    def close(self) -> None:
        """Go away in the middle, as a page does."""
        if self._task is not None:
            self._task.kill()
            self._response.close()
        self._connection.close()

    def __enter__(self) -> Reader:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def cursor(self) -> str:
        """What this client would send as Last-Event-ID."""
        return self._parser.last_event_id

    def wait(self, event: str = "ready", count: int = 1, seconds: float = 30.0) -> list[Event]:
        """Wait until so many events of this name have come, and return them."""
        until(lambda: len(named(self.events, event)) >= count, seconds)
        return named(self.events, event)

    def wait_for_text(self, text: str, seconds: float = 30.0) -> list[dict[str, Any]]:
        """Wait until a message of this text has come; return all messages up to now."""
        until(lambda: says(self.events, text), seconds)
        return messages(self.events)

    def wait_for_end(self, seconds: float = 30.0) -> str:
        return until(lambda: self.end, seconds)

    def _read(self) -> None:
        try:
            while chunk := self._response.read1(65536):
                self.events += self._parser.feed(chunk)
            self.end = "clean"
        except (OSError, HTTPException, ValueError):
            self.end = "cut"
        finally:
            self._connection.close()


class Follower:
    """A client that comes back by its cursor, whatever ended its stream. It keeps everything it is told, twice too.

    `stay` is how long it stays before it leaves by itself, in seconds; None: as long as it can.
    """

    def __init__(
        self,
        url: str,
        path: str = "/stream",
        token: str | None = None,
        cursor: str = "",
        stay: Callable[[], float | None] = lambda: None,
        pause: Callable[[], float] = lambda: random.uniform(0.05, 0.3),
    ) -> None:
        self._arguments = (url, path, token)
        self._stay, self._pause = stay, pause
        self._task: gevent.Greenlet | None = None
        self.cursor = cursor
        self.events: list[Event] = []
        self.ends: list[str] = []
        self.visits = 0

    def __enter__(self) -> Follower:
        self._task = gevent.spawn(self._follow)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.kill()

    def wait(self, event: str = "ready", count: int = 1, seconds: float = 60.0) -> list[Event]:
        until(lambda: len(named(self.events, event)) >= count, seconds)
        return named(self.events, event)

    def wait_for_text(self, text: str, seconds: float = 60.0) -> list[dict[str, Any]]:
        until(lambda: says(self.events, text), seconds)
        return messages(self.events)

    def _follow(self) -> None:
        while True:
            reader = Reader(*self._arguments, cursor=self.cursor)
            reader.events = self.events
            try:
                self._visit(reader)
            except (OSError, HTTPException):
                pass  # nobody at home; again
            finally:
                self.cursor = reader.cursor
                reader.close()
            gevent.sleep(self._pause())

    def _visit(self, reader: Reader) -> None:
        reader.open()
        assert reader.status == 200, (reader.status, reader.body)
        self.visits += 1
        assert reader._task is not None
        reader._task.join(self._stay())
        self.ends.append(reader.end or "left")


def named(events: Iterable[Event], name: str) -> list[Event]:
    return [event for event in events if event.event == name]


def messages(events: Iterable[Event]) -> list[dict[str, Any]]:
    """What the messages of a stream say, in the order they came."""
    return [event.json for event in named(events, "message")]


def says(events: Iterable[Event], text: str) -> bool:
    """Is there a message of this text? Newest first, since it is asked again and again."""
    return any(event.event == "message" and event.json["text"] == text for event in reversed(list(events)[-50:]))


def texts(events: Iterable[Event]) -> list[str]:
    return [message["text"] for message in messages(events)]


def seqs(events: Iterable[Event]) -> list[int]:
    """The positions that the ids of a log's own events name, in the order they came."""
    return [int(event.id.partition(".")[2]) for event in events if event.event in ("message", "thread", "run", "read")]
