"""A conversation that goes on while the server breaks, and the ledger of what was acknowledged."""

from __future__ import annotations

import time
from collections import Counter
from types import TracebackType

import gevent

from tests.live.people import Person
from tests.live.reader import Follower, named
from tests.live.writer import PATIENCE, Writer
from tests.until import until


class Talk:
    """Person and agent speak in turn, each thing until it is acknowledged, as long as the `with` block lasts."""

    def __init__(self, person: Person, thread_id: str, pause: float = 0.01) -> None:
        self._person, self._thread_id, self._pause = person, thread_id, pause
        self._writer = Writer(person.server.url, person.server.agent_token)
        self._over = False
        self.acknowledged: list[str] = []
        self.slowest = 0.0  # seconds from the first attempt to the acknowledgement, over all

    def __enter__(self) -> Talk:
        self._task = gevent.spawn(self._talk)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        self._task.join()
        self._writer.close()
        self._task.get()

    def goes_on(self, more: int = 30) -> None:
        """Wait until so many more things have been said and acknowledged."""
        wanted = len(self.acknowledged) + more
        until(lambda: self._task.ready() or len(self.acknowledged) >= wanted, PATIENCE)
        assert not self._task.ready()

    def _talk(self) -> None:
        number = 0
        while not self._over:
            number += 1
            text, began = f"word {number}", time.monotonic()
            if number % 10:
                self._writer.post(self._thread_id, text, f"{self._thread_id}-{number}")
            else:
                self._say(text)
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.acknowledged.append(text)
            gevent.sleep(self._pause)

    def _say(self, text: str) -> None:
        """The person says it, with the same client_id until the server takes it."""
        path, deadline = f"/threads/{self._thread_id}/messages", time.monotonic() + PATIENCE
        while True:
            try:
                status, answer = self._person.call("POST", path, {"text": text, "client_id": text})
            except (OSError, ValueError):
                status, answer = 0, "nobody answers"
            if status == 201:
                return
            assert status == 0 or status >= 500, answer
            assert time.monotonic() < deadline, answer
            gevent.sleep(0.1)


def settle(talk: Talk, person: Person, thread_id: str, followers: list[Follower]) -> None:
    """The oracle: what was acknowledged is stored once; what is stored was told to every follower once, in order."""
    assert len(talk.acknowledged) > 30
    for follower in followers:
        until(lambda follower=follower: told(follower) == stored(person, thread_id), 60)
        assert not named(follower.events, "reset")
    said = Counter(message["text"] for message in person.history(thread_id))
    assert {text: said[text] for text in talk.acknowledged} == dict.fromkeys(talk.acknowledged, 1)
    assert max(said.values()) == 1


def told(follower: Follower) -> list[tuple[int, str]]:
    """What was said, in the order in which it was told; a question that waited is told again when it is answered."""
    told = (event.json for event in named(follower.events, "message"))
    return [(message["seq"], message["id"]) for message in told if message["change"] == "created"]


def stored(person: Person, thread_id: str) -> list[tuple[int, str]]:
    return [(message["seq"], message["id"]) for message in person.history(thread_id)]
