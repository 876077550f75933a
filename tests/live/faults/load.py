"""The load: webhooks and people's messages at a steady rate, each said again with the same key until acknowledged."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

import gevent
from gevent.pool import Pool

from tests.live.faults.cast import Party

PATIENCE = 60.0  # seconds for one request, over all its attempts
ANSWER = 10.0  # seconds for one attempt
AT_ONCE = 40  # requests on their way: a server that is slow is told less, as by senders with so many workers
WORDS = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "ärger",
    "øl",
    "東京",
    "привет",
    "🦉",
    "and",
    "so",
    "on",
    "until",
    "it",
    "is",
    "long",
]


@dataclass
class Attempt:
    """One try: when, how long it took, and its status; 0 if there was no answer but an `error`, by its class."""

    at: float
    seconds: float
    status: int
    error: str = ""


@dataclass
class Request:
    """One thing said: all attempts, and when it was acknowledged (Unix seconds; None: never)."""

    party: Party
    thread: str
    kind: str  # "webhook" or "message"
    key: str
    text: str
    attempts: list[Attempt] = field(default_factory=list)
    acknowledged: float | None = None
    answer: bytes = b""

    @property
    def is_refused(self) -> bool:
        """Was it refused for good? Nothing in a load should be."""
        return bool(self.attempts) and 400 <= self.attempts[-1].status < 500


class Load:
    """Says `webhooks` and `messages` a second, in random threads, from `start` to `stop`. `requests` is its ledger."""

    def __init__(self, url: str, cast: list[Party], luck: random.Random, webhooks: float, messages: float) -> None:
        self.requests: list[Request] = []
        self._address = urlsplit(url)
        self.cast, self._luck = cast, luck
        self._rates = {"webhook": webhooks, "message": messages}
        self._pool = Pool(AT_ONCE)
        self._tasks: list[gevent.Greenlet] = []
        self._over = False

    def start(self) -> None:
        self._tasks = [gevent.spawn(self._keep_saying, kind, rate) for kind, rate in self._rates.items() if rate]

    def stop(self) -> None:
        """Say nothing new, and wait until all is acknowledged or given up."""
        self._over = True
        gevent.joinall(self._tasks)
        self._pool.join(PATIENCE + ANSWER)

    def kill(self) -> None:
        gevent.killall(self._tasks)
        self._pool.kill()

    def say(self, kind: str, party: Party, thread: str, text: str = "") -> Request:
        """Say one thing more, in the background."""
        key = f"{kind}-{thread}-{len(self.requests)}"
        text = text or f"{len(self.requests)} {' '.join(self._luck.sample(WORDS, 12))}"
        request = Request(party, thread, kind, key, text)
        self.requests.append(request)
        self._pool.spawn(self._until_acknowledged, request)
        return request

    def _keep_saying(self, kind: str, rate: float) -> None:
        due = time.monotonic()
        while not self._over:
            due = max(due, time.monotonic()) + self._luck.uniform(0.5, 1.5) / rate
            gevent.sleep(due - time.monotonic())
            party = self._luck.choice(self.cast)
            self.say(kind, party, self._luck.choice(party.threads))

    def _until_acknowledged(self, request: Request) -> None:
        deadline = time.monotonic() + PATIENCE
        while request.acknowledged is None and not request.is_refused and time.monotonic() < deadline:
            if request.attempts:
                gevent.sleep(self._luck.uniform(0.05, 0.3))
            self._attempt(request)

    def _attempt(self, request: Request) -> None:
        at, began = time.time(), time.monotonic()
        status, body, error = self._post(*wire(request))
        request.attempts.append(Attempt(at, time.monotonic() - began, status, error))
        if 200 <= status < 300:
            request.acknowledged, request.answer = time.time(), body

    def _post(self, path: str, body: dict[str, object], headers: dict[str, str]) -> tuple[int, bytes, str]:
        # A connection of its own each time, as most senders of webhooks have.
        connection = HTTPConnection(self._address.hostname or "", self._address.port, timeout=ANSWER)
        try:
            connection.request("POST", path, json.dumps(body).encode(), {**headers, "Connection": "close"})
            response = connection.getresponse()
            return response.status, response.read(), ""
        except (OSError, HTTPException) as error:
            return 0, b"", type(error).__name__
        finally:
            connection.close()


Wire = tuple[str, dict[str, object], dict[str, str]]


def webhook(request: Request) -> Wire:
    body = {"thread_id": request.thread, "message": {"text": request.text}}
    headers = {"Authorization": f"Bearer {request.party.agent_token}", "Idempotency-Key": request.key}
    return "/webhook/chat-response", body, headers


def message(request: Request) -> Wire:
    body = {"text": request.text, "client_id": request.key}
    headers = {"Authorization": f"Bearer {request.party.token}"}
    return f"/threads/{request.thread}/messages", body, headers


WIRES: dict[str, Callable[[Request], Wire]] = {"webhook": webhook, "message": message}


def wire(request: Request) -> Wire:
    return WIRES[request.kind](request)
