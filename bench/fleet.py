"""Many readers in one process, each cheap and each strict: a log has no gaps, so the next event is the next number.

A reader comes back as the page does: after a `bye` when it was told to, else with full jitter and a growing ceiling.
"""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Iterable

import gevent
from gevent import socket
from gevent.lock import BoundedSemaphore
from gevent.pool import Group

FIRST, CAP, FLOOR = 1.0, 30.0, 0.1  # seconds, as static/js/receive/backoff.js
PATIENCE = 40.0  # seconds of silence: two and a half pings
EVENTS = (b"message", b"thread", b"run", b"read")
MEASURED = re.compile(rb'"text":"measured ([0-9.]+)')

dialling = BoundedSemaphore(64)  # the kernel's own backlog is not what is measured


class Reader:
    """One stream of one person, for as long as the fleet sails."""

    def __init__(self, fleet: Fleet, token: str, cursor: str) -> None:
        self.epoch, self.pos = cursor.rpartition(".")[0], int(cursor.rpartition(".")[2])
        self.is_open = False
        self.pings = 0
        self._fleet, self._token = fleet, token
        self._failures = 0
        self._sock: socket.socket | None = None

    def sail(self) -> None:
        while True:
            pause = self._read_once()
            self.is_open = False
            gevent.sleep(self._backoff() if pause is None else pause)

    def cut(self) -> None:
        """Close without a word, as a network would."""
        if self._sock is not None:
            self._sock.close()

    def _backoff(self) -> float:
        self._failures += 1
        return max(FLOOR, random.random() * min(CAP, FIRST * 2 ** (self._failures - 1)))

    def _read_once(self) -> float | None:
        """Read one stream to its end; return how long a `bye` told us to wait, None if there was none."""
        try:
            with dialling:
                self._sock = socket.create_connection(self._fleet.address, timeout=PATIENCE)
            with self._sock:
                self._sock.sendall(self._request())
                return self._read(self._sock)
        except OSError as error:
            when = "cut" if self.is_open else "cut before it was open"
            self._fleet.counts[f"{when}: {type(error).__name__}"] += 1
            return None

    def _request(self) -> bytes:
        path = f"/stream?last_event_id={self.epoch}.{self.pos}"
        # HTTP/1.0: the body is not chunked, so frames come as they are.
        return f"GET {path} HTTP/1.0\r\nAuthorization: Bearer {self._token}\r\n\r\n".encode()

    def _read(self, sock: socket.socket) -> float | None:
        head, _, rest = self._read_head(sock)
        status = head.split(b" ", 2)[1]
        if status != b"200":
            self._fleet.counts[f"HTTP {status.decode()}"] += 1
            return None
        while True:
            *blocks, rest = rest.split(b"\n\n")
            for block in blocks:
                if (pause := self._take(block)) is not None:
                    return pause
            received = sock.recv(65536)
            if not received:
                self._fleet.counts["ended without bye"] += 1
                return None
            rest += received

    def _read_head(self, sock: socket.socket) -> tuple[bytes, bytes, bytes]:
        head = b""
        while b"\r\n\r\n" not in head:
            received = sock.recv(65536)
            if not received:
                raise ConnectionResetError("no answer")
            head += received
        return head.partition(b"\r\n\r\n")

    def _take(self, block: bytes) -> float | None:
        fields = dict(line.split(b": ", 1) for line in block.split(b"\n"))
        name = fields[b"event"]
        if name in EVENTS:
            self._take_event(fields)
        elif name == b"ready":
            self.is_open, self._failures = True, 0
            self._fleet.counts["ready"] += 1
        elif name == b"reset":
            self._fleet.counts["reset"] += 1
        elif name == b"ping":
            self.pings += 1
        elif name == b"bye":
            reason = re.search(rb'"reason":"(\w+)"', fields[b"data"])
            self._fleet.counts[f"bye {reason[1].decode()}" if reason else "bye"] += 1
            self._fleet.pauses.append(int(fields[b"retry"]))
            return self._fleet.pauses[-1] / 1000
        return None

    def _take_event(self, fields: dict[bytes, bytes]) -> None:
        epoch, _, seq = fields[b"id"].decode().rpartition(".")
        fault = (
            None if epoch == self.epoch and int(seq) == self.pos + 1 else "lost" if int(seq) > self.pos else "doubled"
        )
        if fault:
            self._fleet.faults.append(f"{fault}: {seq} after {self.epoch}.{self.pos}")
        self.epoch, self.pos = epoch, int(seq)
        self._fleet.delivered += 1
        if found := MEASURED.search(fields[b"data"]):
            self._fleet.delays.append(time.monotonic() - float(found[1]))


class Fleet:
    """All readers. `faults` tells what any of them was given that was not the next event; it must stay empty."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.readers: list[Reader] = []
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        self.delays: list[float] = []  # seconds from a webhook's beginning to its event
        self.delivered = 0
        self.pauses: list[int] = []  # ms that a `bye` told a reader to stay away
        self._sailing = Group()

    def launch(self, token: str, cursor: str) -> None:
        reader = Reader(self, token, cursor)
        self.readers.append(reader)
        self._sailing.spawn(reader.sail)

    def land(self) -> None:
        """Close all streams, for good."""
        self._sailing.kill()

    @property
    def open(self) -> int:
        return sum(reader.is_open for reader in self.readers)

    def behind(self, heads: dict[str, int]) -> int:
        """How many readers are not yet where their log is; `heads` by epoch."""
        return sum(reader.pos != heads[reader.epoch] for reader in self.readers)

    def cut(self, readers: Iterable[Reader]) -> None:
        for reader in readers:
            reader.cut()
