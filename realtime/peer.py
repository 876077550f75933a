"""The far end of a stream's connection: noticed when it closes, given up when it vanishes or stops reading.

Without this a closed client is unseen until the next write, a vanished one for a quarter of an hour (measured).
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gevent import get_hub, monkey

VANISHED = 10_000  # ms that sent bytes may stay unacknowledged (RFC 5482)
KEEPALIVE = (10, 5, 3)  # seconds of silence, seconds between probes, probes
STALLED = 5.0  # seconds that one write may take
UNSENT = 128 * 1024  # bytes that the kernel may hold for a reader, which it doubles; left alone, it grows to 4 MB

GONE = select.POLLRDHUP | select.POLLHUP | select.POLLERR


@contextmanager
def watched(sock: socket.socket | None, on_gone: Callable[[], None]) -> Iterator[None]:
    """Call `on_gone` from the loop as soon as the peer closes, without a greenlet of its own.

    None, from a server that hides its socket, is watched by nobody.
    """
    if sock is None:
        yield
        return
    before = sock.gettimeout()
    set_patience(sock)
    watcher = get_hub().loop.io(sock.fileno(), 1)

    def readable() -> None:
        if has_closed(sock):
            on_gone()
        watcher.stop()  # a client that talks would call us for ever; it is then noticed at the next write

    watcher.start(readable)
    try:
        yield
    finally:
        watcher.stop()
        watcher.close()
        sock.settimeout(before)  # the connection may be used again


def set_patience(sock: socket.socket) -> None:
    sock.settimeout(STALLED)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNSENT)
    notice_vanishing(sock)


def notice_vanishing(sock: socket.socket) -> None:
    """Let the kernel end a connection whose other end is gone without a word."""
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        idle, interval, count = KEEPALIVE
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, count)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, VANISHED)


def has_closed(sock: socket.socket) -> bool:
    poll = monkey.get_original("select", "poll")()  # the kernel's own: asked, it answers at once
    poll.register(sock.fileno(), GONE)
    return bool(poll.poll(0))
