"""Mutants: builds of the server that break one promise each, so that the row that holds it must fail.

A server started with MUTANT=name runs by tests/mutant.conf.py, which applies the patch in every worker before the
application is loaded. The product knows nothing of it. A comma joins several; TWEAKS are those that a row itself wants.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Any

MUTANTS: dict[str, Callable[[], None]] = {}


def mutant(patch: Callable[[], None]) -> Callable[[], None]:
    MUTANTS[patch.__name__] = patch
    return patch


def wanted(environ: dict[str, str] | os._Environ[str] = os.environ) -> list[str]:
    """The names asked for, in the order to apply."""
    return [name for kind in ("TWEAKS", "MUTANT") for name in environ.get(kind, "").split(",") if name]


def replace(owner: Any, name: str, value: Any) -> Any:
    """Put `value` in the place of what must be there, and return that: a mutant that changes nothing proves nothing."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    return before


# The broker


@mutant
def no_poll_fallback() -> None:
    """R1: the tick does not look at the heads, so what no ring told of stays unknown."""
    from realtime.hub import Hub

    replace(Hub, "_check_heads", lambda self: None)


@mutant
def slow_tick() -> None:
    """Not a mutant but a tweak: without the tick's help, what heals at once can be told from what it heals."""
    from realtime import hub

    replace(hub, "TICK", 60.0)


@mutant
def ignore_confirmations() -> None:
    """R2: a new subscription is taken for one that never broke."""
    from realtime.listener import Listener

    replace(Listener, "_missed", lambda self: None)


def publish_in_line(**patience: Any) -> None:
    """Whoever says something waits until the broker has taken the hint, with that much patience."""
    from redis import Redis
    from redis.exceptions import RedisError

    from realtime.publisher import Publisher

    redis = Redis.from_url(os.environ["REDIS_URL"], **patience)

    def say(self: Any, channel: str, said: bytes) -> None:
        with suppress(RedisError, OSError):
            redis.publish(channel, said)

    replace(Publisher, "say", say)


@mutant
def publish_in_the_request() -> None:
    """R5: the hint is published before the answer goes out."""
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    publish_in_line(socket_timeout=1.0, retry=Retry(NoBackoff(), 0))


@mutant
def default_redis_timeouts() -> None:
    """R3: the same, with the patience that redis-py has by itself: 5 s, ten times."""
    publish_in_line()


@mutant
def seq_in_redis() -> None:
    """R8: the broker, not the store, knows how far a log is."""
    from redis import Redis
    from sqlalchemy import select, update

    from chat import log
    from chat.models import Participant
    from realtime.cursor import Cursor

    redis = Redis.from_url(os.environ["REDIS_URL"])
    known: set[str] = set()

    def take(session: Any, participant_id: str) -> Cursor:
        mine = Participant.id == participant_id
        epoch, head = session.execute(select(Participant.epoch, Participant.head).where(mine)).one()
        if participant_id not in known:
            redis.set(f"head:{participant_id}", head, nx=True)
            known.add(participant_id)
        seq = int(redis.incr(f"head:{participant_id}"))
        session.execute(update(Participant).where(mine).values(head=seq))
        return Cursor(epoch, seq)

    replace(log, "take", take)


# The workers


@mutant
def ack_before_commit() -> None:
    """R13: a webhook is answered first, and what the answer speaks of is committed a moment later."""
    import gevent
    from flask import has_request_context, request

    from chat.store import Store

    class DryRun(Exception):
        """Carries the result out of a transaction that is not to be."""

    before = Store.write

    def write(self: Any, work: Callable[[Any], Any]) -> Any:
        if not (has_request_context() and request.path.startswith("/webhook")):
            return before(self, work)

        def rehearse(session: Any) -> None:
            raise DryRun(work(session))

        try:
            before(self, rehearse)
        except DryRun as done:
            gevent.spawn_later(0.2, before, self, work)
            return done.args[0]

    replace(Store, "write", write)


@mutant
def no_drain() -> None:
    """R14: a worker that leaves cuts its streams."""
    from realtime.hub import Hub

    replace(Hub, "drain", lambda self, *_: None)


# The readers


@mutant
def no_watcher() -> None:
    """R19: a client that closes is noticed when something is written to it."""
    from realtime import peer

    replace(peer, "watched", lambda sock, on_gone: nullcontext())


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


# The database


@mutant
def no_pool_pre_ping() -> None:
    """R9: a connection from the pool is taken for a good one."""
    from chat import postgres

    before = postgres.create_engine
    replace(postgres, "create_engine", lambda url, **how: before(url, **{**how, "pool_pre_ping": False}))


@mutant
def no_deadline() -> None:
    """R10: a transaction waits for its database for as long as that takes."""
    from chat import postgres

    replace(postgres, "bounded", lambda engine, work, deadline: postgres.run(engine, work))


@mutant
def session_held_over_a_yield() -> None:
    """R10: a stream keeps the connection with which it looked for its log, as long as there are any."""
    from contextlib import contextmanager

    from chat.postgres import Postgres
    from realtime.hub import Hub

    pools: list[Any] = []
    make = Postgres.__init__

    def init(self: Any, *how: Any) -> None:
        make(self, *how)
        pools.append(self)

    @contextmanager
    def watch(self: Any, log: str, stream: Any) -> Any:
        with before(self, log, stream) as tail:
            if not pools[0]._free.acquire(blocking=False):
                yield tail
                return
            try:
                with pools[0]._engine.connect():
                    yield tail
            finally:
                pools[0]._free.release()

    replace(Postgres, "__init__", init)
    before = replace(Hub, "watch", watch)


@mutant
def write_in_the_loop() -> None:
    """R11: transactions run in the loop, with the patience that SQLite's driver has by itself: 5 s."""
    import time

    from chat.sqlite import Lane

    def run(self: Any, work: Callable[[Any], Any], deadline: float) -> Any:
        result, error = self._attempt(work, time.monotonic() + 5)
        if error is not None:
            raise error
        return result

    replace(Lane, "run", run)


@mutant
def newest_is_the_cursor() -> None:
    """R22: places are given out without waiting for who has the one before, and a reader is where the newest is."""
    from sqlalchemy import select

    from chat import log
    from chat.models import LogEntry
    from realtime.cursor import Cursor
    from realtime.event import Page
    from realtime.tail import Tail

    def take(session: Any, participant_id: str) -> Cursor:
        with session.get_bind().engine.begin() as connection:
            epoch, head = connection.execute(log.TAKE, {"log": participant_id}).one()
        return Cursor(epoch, head)

    def after(session: Any, name: str, seq: int, limit: int) -> Page:
        newer = select(LogEntry).where(LogEntry.participant_id == name, LogEntry.seq > seq)
        entries = session.scalars(newer.order_by(LogEntry.seq).limit(limit)).all()
        shown = log.look_up(session, entries)
        events = [log.event_of(entry, shown.get((entry.kind, entry.subject_id)), entry.seq) for entry in entries]
        return Page(log.heads(session, [name])[name], events)

    def heard(self: Any, epoch: str, seq: int, event: Any = None) -> None:
        if event is not None and epoch == self.epoch and seq > self.last:
            self._take(event)

    replace(log, "hold", lambda session, *logs: None)
    replace(log, "take", take)
    replace(log, "after", after)
    replace(Tail, "heard", heard)


# Webhooks


@mutant
def eager_pruner() -> None:
    """Not a mutant but a tweak: what is to be forgotten is forgotten within seconds, not within the hour."""
    from chat import pruner

    replace(pruner, "EVERY", 1.0)


@mutant
def check_then_insert() -> None:
    """R20: one transaction looks whether the key is new and stores the message, the next one keeps the key."""
    from sqlalchemy.exc import IntegrityError

    from chat import idempotency
    from chat.store import Store

    remember = idempotency.remember
    write = Store.write

    def later(session: Any, *kept: Any) -> None:
        session.info["kept"] = kept

    def in_two(self: Any, work: Callable[[Any], Any]) -> Any:
        def noted(session: Any) -> Any:
            return work(session), session.info.get("kept")

        result, kept = write(self, noted)
        if kept:
            with suppress(IntegrityError):
                write(self, lambda session: remember(session, *kept))
        return result

    replace(idempotency, "remember", later)
    replace(Store, "write", in_two)


# Cursors


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


# The broker's place


@mutant
def pinned_address() -> None:
    """R7: the sentinels are asked once."""
    from realtime.sentinels import Sentinels

    def find(self: Any) -> Any:
        if not hasattr(self, "pinned"):
            self.pinned = before(self)
        return self.pinned

    before = replace(Sentinels, "_find", find)


# The machine


@mutant
def wall_clock_for_timeouts() -> None:
    """R30: heartbeats and the ends of streams are due by the time of day."""
    import time
    from types import SimpleNamespace

    from realtime import stream

    replace(stream, "time", SimpleNamespace(monotonic=time.time, time_ns=time.time_ns))


@mutant
def log_failure_is_a_crash() -> None:
    """R31: a worker whose log takes no more ends."""
    from logs import Lines

    replace(Lines, "handleError", lambda self, record: os._exit(1))


@mutant
def no_cap_of_files() -> None:
    """R32: streams are taken as if there were no end of files."""
    import app

    replace(app, "most_streams", lambda wanted: wanted)


# The streams


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
def no_user_timeout() -> None:
    """R18: what was sent may stay unacknowledged for as long as the kernel has patience."""
    from realtime import peer

    replace(peer, "VANISHED", 0)


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
def fetchall() -> None:
    """R28: a reader who is far behind is read everything at once."""
    from realtime import stream

    replace(stream, "PAGE", stream.FARTHEST)


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


# The line to the broker


@mutant
def no_probe() -> None:
    """R4: a silent connection is taken for a quiet one."""
    from realtime.ear import Ear

    def next_push(self: Any) -> Any:
        return self._connection.read_response(timeout=None, disconnect_on_error=False)

    replace(Ear, "_next", next_push)


# The wire


@mutant
def id_before_data() -> None:
    """R24: the id goes out first, as a block of its own."""
    from realtime import frames

    before = frames.frame

    def frame(event: str, data: Any, id: str | None = None, retry: int | None = None) -> bytes:
        head = b"" if id is None else f"id: {id}\n\n".encode()
        return head + before(event, data, None, retry)

    replace(frames, "frame", frame)


@mutant
def encode_by_splitlines() -> None:
    """R36: JSON as it comes, one `data` for each of what str.splitlines() takes for a line."""
    from realtime import frames

    def one_line(data: Any) -> bytes:
        line = frames._encode_json(data).decode()
        return "\ndata: ".join(line.splitlines()).encode()

    replace(frames, "_one_line", one_line)


# What stands in front, and the page


@mutant
def no_accel_header() -> None:
    """R34: nothing tells a proxy not to hold a stream back."""
    from blueprints import streams

    replace(streams, "HEADERS", {"Cache-Control": "no-cache"})


def altered_script(name: str, old: str, new: str) -> None:
    """Serve a script of the page with these words replaced."""
    from flask import Flask, request

    before = Flask.process_response

    def process(self: Any, response: Any) -> Any:
        response = before(self, response)
        if request.path.endswith(f"/js/{name}") and response.status_code == 200:
            response.direct_passthrough = False
            text = response.get_data(as_text=True)
            assert old in text, f"{name} has no {old}"
            response.set_data(text.replace(old, new))
        return response

    replace(Flask, "process_response", process)


@mutant
def native_retry() -> None:
    """R15, R16: a stream that ends is left to the browser, which comes back by itself or not at all."""
    altered_script("receive/stream.js", "  #lose(reason) {", "  #lose(reason) {\n    return")


@mutant
def no_wakes() -> None:
    """R35: the page does not listen to what the browser knows."""
    begin = "export function listenForWakes(connection) {"
    altered_script("receive/wakes.js", begin, f"{begin}\n  return")
