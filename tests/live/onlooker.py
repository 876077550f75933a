"""Somebody who watches an answer being written, as a page does: it is cut off, comes back, forgets everything, asks."""

from __future__ import annotations

import random
from http.client import HTTPException
from types import TracebackType
from typing import Any

import gevent

from tests.held import PIECES, Held
from tests.live.people import Person
from tests.live.reader import Reader
from tests.sse import Event
from tests.until import until


class Onlooker:
    """Watches one thread. `text` is what it would show of the answer; `wrong` whatever was no beginning of `whole`."""

    def __init__(self, person: Person, thread_id: str, whole: str) -> None:
        self._person, self._thread_id, self._whole = person, thread_id, whole
        self._task: gevent.Greenlet | None = None
        self._reader: Reader | None = None
        self.cuts = self.asked = self.frames = 0
        self.wrong: list[str] = []
        self.forget()

    def forget(self) -> None:
        """Reload: nothing is known any more but what the history says."""
        status, page = self._person.call("GET", f"/threads/{self._thread_id}/messages?limit=200")
        assert status == 200, page
        self.cursor = page["cursor"]
        self.held: dict[str, Held] = {}
        self.messages: dict[str, str] = {}
        for message in page["items"]:
            self._hear_message(message)

    @property
    def text(self) -> str:
        if self.messages:
            return next(reversed(self.messages.values()))
        return next(reversed(self.held.values())).text if self.held else ""

    @property
    def is_whole(self) -> bool:
        return self.text == self._whole and bool(self.messages)

    def __enter__(self) -> Onlooker:
        self._task = gevent.spawn(self._watch)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.kill()
        self.cut()

    def cut(self) -> None:
        self.cuts += 1
        if self._reader is not None:
            self._reader.close()
            self._reader.end = "left"

    def reload(self) -> None:
        self.cut()
        until(lambda: self._try(self.forget), 30)

    def _try(self, act: Any) -> bool:
        try:
            act()
        except (OSError, HTTPException, AssertionError):
            return False
        return True

    def _watch(self) -> None:
        while True:
            path = f"/stream?focus={self._thread_id}"
            reader = self._reader = Reader(self._person.server.url, path, self._person.token, self.cursor)
            reader.events = Ears(self, reader)
            try:
                reader.open()
                until(lambda reader=reader: reader.end, 60)
            except (OSError, HTTPException, AssertionError):
                pass  # nobody at home, or a quiet minute; again
            finally:
                reader.close()
            gevent.sleep(random.uniform(0.02, 0.2))

    def hear(self, event: Event) -> None:
        self.cursor = event.id or self.cursor
        if event.event == "message":
            self._hear_message(event.json)
        elif event.event == "partial":
            self._of(event.json).take_whole(event.json)
        elif event.event in PIECES:
            self._hear_piece(event)
        if not self._whole.startswith(self.text):
            self.wrong.append(f"{event.event} made {self.text[-80:]!r}")

    def _hear_message(self, message: dict[str, Any]) -> None:
        if message["direction"] == "outgoing":
            self.messages[message["id"]] = message["text"]

    def _hear_piece(self, event: Event) -> None:
        self.frames += 1
        held = self._of(event.json)
        held.take_piece(event.event, event.json)
        if held.is_behind:
            self.asked += 1
            status, told = self._person.call("GET", f"/runs/{event.json['run_id']}/partial")
            if status == 200:
                held.take_whole(told)

    def _of(self, told: dict[str, Any]) -> Held:
        return self.held.setdefault(told["run_id"], Held())


class Ears(list[Event]):
    """What a reader has heard goes to the onlooker as long as that is where it listens."""

    def __init__(self, onlooker: Onlooker, reader: Reader) -> None:
        self._onlooker, self._reader = onlooker, reader

    def __iadd__(self, events: Any) -> Ears:  # type: ignore[misc]
        for event in events:
            if self._onlooker._reader is self._reader and not self._reader.end:
                self._onlooker.hear(event)
        return self
