"""A TCP proxy before a Redis that loses and doubles what a subscriber is told, and nothing else.

It reads RESP2 (redis.io, "Redis serialization protocol specification") on the way from server to client; a push is
an array whose first element is the bulk string `message`.
"""

from __future__ import annotations

import random

import gevent
from gevent.server import StreamServer
from gevent.socket import create_connection, socket

PUSH = b"$7\r\nmessage\r\n"


class RingProxy:
    """Started by `start`, ended by `stop`. `dropped` and `doubled` count what was done."""

    def __init__(self, upstream: tuple[str, int], seed: int, drop: float, double: float) -> None:
        self._upstream = upstream
        self._random = random.Random(seed)
        self._drop, self._double = drop, double
        self._server = StreamServer(("127.0.0.1", 0), self._serve)
        self.passed = self.dropped = self.doubled = 0

    def start(self) -> RingProxy:
        self._server.start()
        return self

    def stop(self) -> None:
        self._server.stop()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._server.server_port}"

    def _serve(self, client: socket, _address: object) -> None:
        with client, create_connection(self._upstream) as server:
            forth = gevent.spawn(pipe, client, server)
            try:
                self._back(server, client)
            except OSError:
                pass
            finally:
                forth.kill()

    def _back(self, server: socket, client: socket) -> None:
        buffer = b""
        while chunk := server.recv(65536):
            buffer += chunk
            passed, start = [], 0
            while (end := end_of_reply(buffer, start)) is not None:
                passed += [buffer[start:end]] * self._times(buffer, start)
                start = end
            buffer = buffer[start:]
            client.sendall(b"".join(passed))

    def _times(self, buffer: bytes, start: int) -> int:
        """How often to pass on the reply that begins at `start`."""
        if not is_push(buffer, start):
            return 1
        luck = self._random.random()
        times = 0 if luck < self._drop else 2 if luck < self._drop + self._double else 1
        self.dropped += times == 0
        self.doubled += times == 2
        self.passed += times == 1
        return times


def is_push(buffer: bytes, start: int) -> bool:
    if buffer[start : start + 1] != b"*":
        return False
    line = buffer.index(b"\r\n", start) + 2
    return buffer.startswith(PUSH, line)


def end_of_reply(buffer: bytes, start: int) -> int | None:
    """Where the reply that begins at `start` ends; None if it is not all there yet."""
    line = buffer.find(b"\r\n", start)
    if line < 0:
        return None
    kind, end = buffer[start : start + 1], line + 2
    if kind in b"+-:":
        return end
    size = int(buffer[start + 1 : line])
    if kind == b"$":
        end += size + 2 if size >= 0 else 0
        return end if end <= len(buffer) else None
    assert kind == b"*", buffer[start : start + 20]
    for _ in range(size):
        inner = end_of_reply(buffer, end)
        if inner is None:
            return None
        end = inner
    return end


def pipe(source: socket, target: socket) -> None:
    try:
        while chunk := source.recv(65536):
            target.sendall(chunk)
    except OSError:
        pass
    finally:
        # The other side learns of the end by its own end.
        target.close()
