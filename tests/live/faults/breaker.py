"""The process behind a ChaosProxy: passes TCP on, or breaks it.

`python -m tests.live.faults.breaker TARGET` prints its port, then obeys JSON lines: ["slice", 1]. TARGET is host:port
or the path of a unix socket.
"""

from __future__ import annotations

import json
import socket as plain
import struct
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import ioctl
from typing import Any

import gevent
from gevent.fileobject import FileObject
from gevent.server import StreamServer
from gevent.socket import AF_UNIX, SHUT_WR, socket

CHUNK = 64 * 1024  # bytes
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s, so that close() sends RST


class Line:
    """One connection through the proxy: two ends, and two greenlets that pass bytes on."""

    def __init__(self, client: socket, server: socket, cut_after: int | None) -> None:
        self.client, self.server, self.rest = client, server, cut_after
        self.lost_bytes = False
        for end in (client, server):
            with suppress(OSError):  # a unix socket has no such option
                end.setsockopt(plain.IPPROTO_TCP, plain.TCP_NODELAY, 1)

    def reset(self) -> None:
        for end in (self.client, self.server):
            with suppress(OSError):
                end.setsockopt(plain.SOL_SOCKET, plain.SO_LINGER, RESET)
            end.close()

    @contextmanager
    def ended_by_errors(self) -> Iterator[None]:
        """What one end meets, the other is told: a peer that died is reset on both sides."""
        try:
            yield
        except OSError:
            self.reset()


class Breaker:
    """The proxy itself, inside its process."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._lines: set[Line] = set()
        self._server: StreamServer | None = None
        self.port = 0
        self._honest()
        self._listen()

    def obey(self, word: str, *more: Any) -> int:
        getattr(self, word)(*more)
        return len(self._lines)

    def count(self) -> None:
        pass

    def cut(self) -> None:
        for line in list(self._lines):
            line.reset()

    def refuse(self) -> None:
        if self._server is not None:
            self._server.close()
        self._server = None
        self.cut()

    def blackhole(self) -> None:
        self._swallows = True

    def delay(self, ms: float, bytes_per_second: float) -> None:
        self._seconds, self._rate = ms / 1000, bytes_per_second

    def slice(self, size: int) -> None:
        self._size = size

    def cut_after(self, size: int) -> None:
        self._cut_after = size

    def heal(self) -> None:
        self._honest()
        for line in list(self._lines):
            if line.lost_bytes:  # what it would pass on now makes no sense any more
                line.reset()
        if self._server is None:
            self._listen()

    def _honest(self) -> None:
        self._swallows, self._seconds, self._rate = False, 0.0, 0.0
        self._size: int | None = None
        self._cut_after: int | None = None

    def _listen(self) -> None:
        self._server = StreamServer(("127.0.0.1", self.port), self._serve, backlog=1024)
        self._server.start()
        self.port = self._server.server_port

    def _serve(self, client: socket, _address: object) -> None:
        cut_after, self._cut_after = self._cut_after, None
        try:
            server = connect(self._target)
        except OSError:
            Line(client, client, None).reset()
            return
        line = Line(client, server, cut_after)
        self._lines.add(line)
        ways = [gevent.spawn(self._forth, line), gevent.spawn(self._back, line)]
        gevent.joinall(ways)
        self._lines.discard(line)
        for end in (client, server):
            end.close()

    def _forth(self, line: Line) -> None:
        with line.ended_by_errors():
            while chunk := line.client.recv(CHUNK):
                if self._passes(line, chunk):
                    line.server.sendall(chunk)
            line.server.shutdown(SHUT_WR)

    def _back(self, line: Line) -> None:
        with line.ended_by_errors():
            while chunk := line.server.recv(CHUNK):
                if self._passes(line, chunk):
                    self._send(line, chunk)
            line.client.shutdown(SHUT_WR)

    def _passes(self, line: Line, chunk: bytes) -> bool:
        """Hold the chunk up as long as we are told to; False if it is swallowed."""
        if self._seconds or self._rate:
            gevent.sleep(self._seconds + (len(chunk) / self._rate if self._rate else 0))
        line.lost_bytes |= self._swallows
        return not self._swallows

    def _send(self, line: Line, chunk: bytes) -> None:
        if line.rest is not None and len(chunk) >= line.rest:
            self._pieces(line, chunk[: line.rest])
            wait_until_sent(line.client)
            line.reset()
            return
        if line.rest is not None:
            line.rest -= len(chunk)
        self._pieces(line, chunk)

    def _pieces(self, line: Line, chunk: bytes) -> None:
        size = self._size or CHUNK
        for at in range(0, len(chunk), size):
            line.client.sendall(chunk[at : at + size])
            if self._size:
                gevent.sleep(0)


def connect(target: str) -> socket:
    if target.startswith("/"):
        server = socket(AF_UNIX)
        server.connect(target)
        return server
    host, _, port = target.rpartition(":")
    server = socket()
    server.connect((host, int(port)))
    return server


def wait_until_sent(end: socket) -> None:
    """A reset throws away what is still in the kernel, so wait until that has gone out."""
    for _ in range(1000):
        if not struct.unpack("i", ioctl(end.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0]:
            return
        gevent.sleep(0.001)


def main(target: str) -> None:
    breaker = Breaker(target)
    print(breaker.port, flush=True)
    for line in FileObject(sys.stdin.buffer):  # ends with the process that started us
        print(breaker.obey(*json.loads(line)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
