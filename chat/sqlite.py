"""SQLite as a store: lanes, and a lock that is asked for again and again.

SQLite blocks the thread that calls it, so a whole transaction is one function and one hop into a lane of its own: a
native thread with the only connection it will ever use. A connection pool shared between native threads and gevent's
loop livelocks on its lock (measured), so nothing is shared, and least of all a lock of gevent's, as `threading` gives
them out once it is patched: they are for one thread. Two threads that met in one never came out again (measured:
within a second of trying), nor did whoever came after them.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from functools import cached_property
from itertools import count, cycle
from pathlib import Path
from typing import Any

from gevent.threadpool import ThreadPool
from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.orm import loading, session

from chat.transaction import ENGINE, WAIT, Committed, StoreAway, T, Work, transact

LOOP_WAIT = 0.1  # seconds that the loop itself may stand still
LOOK_MS = 10  # how long one look at a lock lasts; at 2 the looking itself costs a fifth more CPU (measured)

# SQLAlchemy numbers its sessions and results for all threads, under a lock. A count alone does the same.
session._new_sessionid = count(session._new_sessionid()).__next__
loading._new_runid = count(loading._new_runid()).__next__


class SQLite:
    """One lane that writes, two that read pages, and a connection in the loop, which WAL never makes wait."""

    def __init__(self, url: URL) -> None:
        self._url = url
        self._writer = Lane(url, "BEGIN IMMEDIATE")
        self._readers = [Lane(url, "BEGIN") for _ in range(2)]
        self._next_reader = cycle(self._readers).__next__
        self._looks_until = 0.0

    def write(self, work: Work[T], deadline: float) -> tuple[T, Committed]:
        return self._writer.run(work, deadline)

    def read(self, work: Work[T], deadline: float) -> T:
        return self._next_reader().run(work, deadline)[0]

    def peek(self, work: Work[T], wait: float | None = None) -> T:
        """Right here: in WAL mode a read never waits for a writer."""
        self._looks_until = time.monotonic() + min(LOOP_WAIT, LOOP_WAIT if wait is None else wait)
        return run(self._loop_engine, work)[0]

    def close(self) -> None:
        for lane in (self._writer, *self._readers):
            lane.close()
        self._loop_engine.dispose()

    @property
    def in_use(self) -> int:
        return sum(lane.busy for lane in (self._writer, *self._readers))

    @cached_property
    def _loop_engine(self) -> Engine:
        return sqlite(self._url, "BEGIN", lambda: self._looks_until, LOOP_WAIT)


class Lane:
    """One native thread and the engine that only it uses, so that no lock is ever contended across threads."""

    def __init__(self, url: URL, begin: str) -> None:
        self.busy = 0
        self._thread = ThreadPool(1)
        self._deadline = 0.0  # of the transaction that runs; its time in the queue counts
        self._engine = sqlite(url, begin, lambda: self._deadline)

    def run(self, work: Work[T], deadline: float) -> tuple[T, Committed]:
        self.busy += 1
        try:
            result, error = self._thread.apply(self._attempt, (work, deadline))
        finally:
            self.busy -= 1
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]

    def close(self) -> None:
        self._thread.apply(self._engine.dispose)

    def _attempt(self, work: Work[T], deadline: float) -> tuple[Any, Exception | None]:
        # Returned, not raised: gevent's pool prints what a task raises.
        try:
            if time.monotonic() > deadline:
                raise StoreAway("the store is busy")
            self._deadline = deadline
            return run(self._engine, work), None
        except Exception as error:
            return None, error


def run(engine: Engine, work: Work[T]) -> tuple[T, Committed]:
    try:
        return transact(engine, work)
    except sqlite3.Error as error:  # from `take_turn`, which SQLAlchemy does not see
        raise StoreAway(str(error)) from error


def sqlite(url: URL, begin: str, deadline: Callable[[], float], wait: float = WAIT) -> Engine:
    """An engine for one thread: WAL, durable commits, and transactions begun by `begin`, not by the driver.

    `deadline()` is asked when one begins: until when (monotonic seconds) it may wait for the lock.
    `wait` is how long, in seconds, opening the file may take.
    """
    arguments = {"isolation_level": None, "timeout": wait, "check_same_thread": False}
    engine = create_engine(url, pool_size=1, max_overflow=0, connect_args=arguments, **ENGINE)

    @event.listens_for(engine, "connect")
    def set_pragmas(connection: Any, _record: Any) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    # A deferred transaction that reads first and writes then fails at once with SQLITE_BUSY_SNAPSHOT, so writers
    # take the lock when they begin.
    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Any) -> None:
        take_turn(connection.connection.driver_connection, begin, deadline())

    return engine


def take_turn(connection: sqlite3.Connection, begin: str, deadline: float) -> None:
    """Begin a transaction as soon as the lock is free. Raises sqlite3.OperationalError at the deadline.

    SQLite's own wait sleeps for longer and longer, and so finds the lock of a busy neighbour taken every time: of two
    workers under load one starved for 2 s (measured). Many short waits get their turn.
    """
    connection.execute(f"PRAGMA busy_timeout={LOOK_MS}")
    try:
        while not begun(connection, begin, deadline):
            pass
    finally:
        rest = max(LOOK_MS, round((deadline - time.monotonic()) * 1000))
        connection.execute(f"PRAGMA busy_timeout={rest}")  # a read may meet a lock too: recovery after a crash


def begun(connection: sqlite3.Connection, begin: str, deadline: float) -> bool:
    try:
        connection.execute(begin)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
            raise
        return False
    return True


def make_ready(url: URL) -> None:
    """Make the database's file, if there is none yet: in WAL mode, and readable by nobody else.

    Before the workers come: those that switch to WAL at once refuse each other. A file that was restored may be in
    another mode. SQLite gives -wal and -shm the rights of the file when it makes them. Raises OSError, sqlite3.Error.
    """
    path = Path(url.database or "")
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    for each in (path, *(path.with_name(f"{path.name}-{kind}") for kind in ("wal", "shm"))):
        with suppress(FileNotFoundError):
            each.chmod(0o600)
    with closing(sqlite3.connect(path, timeout=WAIT)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
