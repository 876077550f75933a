"""A server with people in it, their readers, and agents who write to all of them: for storm and soak alike."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory

import gevent
from gevent.pool import Pool

from bench.fleet import Fleet
from tests.live.people import Person, newcomer
from tests.server import Server
from tests.until import until

SENDERS = 64  # webhooks under way at once
GIVE_UP = 120.0  # seconds for one webhook to be acknowledged


@dataclass
class Resident:
    """A person, one thread of theirs, and what was acknowledged in it."""

    person: Person
    thread_id: str
    acknowledged: int = 0


@dataclass
class Town:
    server: Server
    residents: list[Resident]
    fleet: Fleet
    answered: list[tuple[float, float]] = field(default_factory=list)  # when a webhook began, how many seconds it took
    answers: Counter[str] = field(default_factory=Counter)

    def settle_in(self, streams: int) -> None:
        """Open so many streams, the residents by turns, and wait until all are open."""
        cursors = [resident.person.cursor for resident in self.residents]
        for number in range(streams):
            who = number % len(self.residents)
            self.fleet.launch(self.residents[who].person.token, cursors[who])
        until(lambda: self.fleet.open == streams, 120)

    @contextmanager
    def talking(self, rate: float) -> Iterator[None]:
        """Webhooks at a steady rate, each to the next resident, each tried again by its key until acknowledged."""
        senders = Pool(SENDERS)
        talk = gevent.spawn(self._talk, senders, rate)
        try:
            yield
        finally:
            talk.kill()
            senders.join(timeout=GIVE_UP)

    def _talk(self, senders: Pool, rate: float) -> None:
        start, number = time.monotonic(), 0
        while True:
            gevent.sleep(max(0.0, start + number / rate - time.monotonic()))
            senders.spawn(self._post, self.residents[number % len(self.residents)], number)
            number += 1

    def _post(self, resident: Resident, number: int) -> None:
        began = time.monotonic()
        body = json.dumps({"thread_id": resident.thread_id, "message": {"text": f"measured {began}"}})
        headers = {
            "Authorization": f"Bearer {self.server.agent_token}",
            "Idempotency-Key": f"{resident.thread_id} {number}",
        }
        while time.monotonic() - began < GIVE_UP:
            if self._try(body, headers):
                resident.acknowledged += 1
                return
            gevent.sleep(0.25)
        self.answers["never acknowledged"] += 1

    def _try(self, body: str, headers: dict[str, str]) -> bool:
        began = time.monotonic()
        connection = HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        try:
            connection.request("POST", "/webhook/chat-response", body, headers)
            status = connection.getresponse().status
        except (OSError, HTTPException) as error:
            self.answers[type(error).__name__] += 1
            return False
        finally:
            connection.close()
        self.answered.append((began, time.monotonic() - began))
        self.answers[str(status)] += 1
        return status == 200

    def stored(self) -> list[int]:
        """How many of the agents' messages each resident's thread holds."""
        texts = [[message["text"] for message in r.person.history(r.thread_id)] for r in self.residents]
        return [sum(text.startswith("measured") for text in found) for found in texts]

    def delays(self, since: float, until: float = float("inf")) -> list[float]:
        """What the webhooks took that began in this time, seconds."""
        return [took for began, took in self.answered if since <= began < until]

    def heads(self) -> dict[str, int]:
        cursors = [resident.person.cursor.rpartition(".") for resident in self.residents]
        return {epoch: int(seq) for epoch, _, seq in cursors}


@contextmanager
def town(people: int, **settings: object) -> Iterator[Town]:
    with TemporaryDirectory(prefix="bench-") as folder:
        server = Server(Path(folder), **settings)
        try:
            server.start()
            residents = [Resident(person, person.new_thread()) for person in (newcomer(server) for _ in range(people))]
            yield Town(server, residents, Fleet(("127.0.0.1", server.port)))
        finally:
            server.stop()


def quantile(seconds: list[float], q: float) -> float:
    """In milliseconds."""
    return 1000 * sorted(seconds)[min(len(seconds) - 1, int(len(seconds) * q))] if seconds else 0.0
