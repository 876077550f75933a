"""A probe asks a server the same thing again and again, from outside, and notes how long each answer took."""

from __future__ import annotations

import time
from collections import Counter
from types import TracebackType

import gevent

from tests.server import Server

PAUSE = 0.05  # seconds


class Probe:
    """Asks as long as the `with` block lasts; raises what went wrong at its end."""

    def __init__(self, server: Server, path: str, token: str | None = None) -> None:
        self._ask = lambda: server.raw("GET", path, token=token)
        self.path = path
        self.longest = 0.0  # seconds
        self.statuses: Counter[int] = Counter()
        self.headers: dict[str, str] = {}  # of the last answer

    def __enter__(self) -> Probe:
        self._over = False
        self._task = gevent.spawn(self._probe)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        self._task.get()

    def _probe(self) -> None:
        while not self._over:
            began = time.monotonic()
            status, self.headers, _ = self._ask()
            self.longest = max(self.longest, time.monotonic() - began)
            self.statuses[status] += 1
            gevent.sleep(PAUSE)

    def __str__(self) -> str:
        return f"{self.path} {dict(self.statuses)}, longest {self.longest:.2f} s"
