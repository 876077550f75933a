"""Mutants of streams: their beginning, their readers, their end."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from typing import Any

from tests.mutations import mutant, replace


@mutant
def subscribe_after_replay() -> None:
    """R23: a stream reads what it missed, and only then begins to listen."""
    import gevent

    from realtime.stream import Stream

    before = Stream._join

    def join(self: Any) -> Any:
        yield from before(self)
        while self.pos < self.tail.last:
            yield from self._replay()
        gevent.sleep(0.05)  # the reply to a SUBSCRIBE takes its time
        self.cursor = self.tail.cursor

    replace(Stream, "_join", join)


@mutant
def replay_nothing() -> None:
    """R29: who shows a cursor that cannot be continued is told what happens from now on."""
    from realtime.cursor import Cursor
    from realtime.stream import Stream

    def join(self: Any) -> Any:
        if self._shown and self._trouble_with(Cursor.parse(self._shown)):
            self._shown = None
        yield from before(self)

    before = replace(Stream, "_join", join)


@mutant
def fetchall() -> None:
    """R28: a reader who is far behind is read everything at once."""
    from realtime import stream, tail

    replace(tail, "PAGE", stream.FARTHEST)


@mutant
def no_watcher() -> None:
    """R19: a client that closes is noticed when something is written to it."""
    from realtime import peer

    replace(peer, "watched", lambda sock, on_gone: nullcontext())


@mutant
def no_user_timeout() -> None:
    """R18: what was sent may stay unacknowledged for as long as the kernel has patience."""
    from realtime import peer

    replace(peer, "VANISHED", 0)


@mutant
def unbounded_queue() -> None:
    """R17: what a reader does not take is kept for it, however much that is and for however long."""
    from weakref import WeakKeyDictionary

    import gevent
    from gevent.queue import Queue
    from gunicorn import util

    from realtime import peer

    queues: WeakKeyDictionary[Any, Queue[tuple[bytes, bool]]] = WeakKeyDictionary()
    before = replace(util, "write", lambda sock, data, chunked=False: write(sock, data, chunked))

    def patient(sock: Any) -> None:
        queues[sock] = Queue()
        gevent.spawn(pass_on, sock, queues[sock])

    def pass_on(sock: Any, queue: Queue[tuple[bytes, bool]]) -> None:
        with suppress(OSError):
            while True:
                before(sock, *queue.get())

    def write(sock: Any, data: bytes, chunked: bool) -> None:
        if sock in queues:
            queues[sock].put((data, chunked))
        else:
            before(sock, data, chunked)

    replace(peer, "set_patience", patient)


@mutant
def thread_per_stream() -> None:
    """R25: every stream has a thread of the system's own."""
    from gevent import monkey

    from realtime.stream import Stream

    start, allocate = (monkey.get_original("_thread", name) for name in ("start_new_thread", "allocate_lock"))
    before = Stream.serve

    def work(lock: Any) -> None:
        sum(bytearray(64 * 1024))  # as much of its own stack as work takes
        lock.acquire()

    def serve(self: Any) -> Any:
        lock = allocate()
        lock.acquire()
        start(work, (lock,))
        try:
            yield from before(self)
        finally:
            lock.release()

    replace(Stream, "serve", serve)


@mutant
def no_cap() -> None:
    """R26: every stream is taken."""
    from realtime.hub import Hub

    replace(Hub, "refuses", lambda self, stream: None)


@mutant
def narrow_door() -> None:
    """R27: those who come back are let in one by one, and each takes its time."""
    import gevent
    from gevent.lock import BoundedSemaphore

    from realtime.hub import Hub

    door = BoundedSemaphore(1)
    before = Hub._tail

    def tail(self: Any, log: str) -> Any:
        with door:
            gevent.sleep(0.1)
            return before(self, log)

    replace(Hub, "_tail", tail)


@mutant
def fixed_retry() -> None:
    """R27: all who are sent away are told to come back after the same time."""
    from realtime import stream

    replace(stream, "RETRY", (3000, 3000))


@mutant
def no_drain() -> None:
    """R14: a worker that leaves cuts its streams."""
    from realtime.hub import Hub

    replace(Hub, "drain", lambda self, *_: None)
