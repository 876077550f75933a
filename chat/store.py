"""The store: the one place where transactions begin and end. It is the truth; everything else only hints.

SQLite blocks the thread that calls it, so a whole transaction is one function and one hop into a lane of its own: a
native thread with the only connection it will ever use. A connection pool shared between native threads and gevent's
loop livelocks on its lock (measured), so nothing is shared.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from itertools import cycle
from typing import Any, TypeVar

import msgspec
from gevent.threadpool import ThreadPool
from sqlalchemy import Engine, Insert, create_engine, event, insert
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session, configure_mappers

from chat.models import Base
from realtime.event import Event

T = TypeVar("T")
Work = Callable[[Session], T]
Committed = Sequence[tuple[str, str, Event]]  # (log, epoch, event), in commit order

WAIT = 2.0  # seconds a transaction may wait for its turn and for the lock
LOOP_WAIT = 0.1  # seconds that the loop itself may stand still
LOOK_MS = 10  # how long one look at a lock lasts; at 2 the looking itself costs a fifth more CPU (measured)


class StoreAway(OSError):
    """The store could not commit or read in time; nothing was changed, and asking again may help."""


class Store:
    """Runs transactions. `after_commit` is told the events of each one that committed, before its caller goes on."""

    def __init__(self, url: str, after_commit: Callable[[Committed], None] = lambda committed: None) -> None:
        if not url.startswith("sqlite:///"):
            raise ValueError(f"DATABASE_URL must be sqlite:///path, not {url.partition(':')[0]}:…")
        self.after_commit = after_commit
        self._url = url
        self._writer = Lane(url, "BEGIN IMMEDIATE")
        self._readers = [Lane(url, "BEGIN") for _ in range(2)]
        self._next_reader = cycle(self._readers).__next__
        configure_mappers()  # now, in one thread: its lock is not for several

    def write(self, work: Work[T]) -> T:
        """Run `work` in one durable transaction and return what it returned.

        Raises StoreAway when it could not commit. `work` runs again, once, if it met a unique constraint: someone did
        the same at the same instant, and the second look sees what they did.
        """
        deadline = time.monotonic() + WAIT
        try:
            result, committed = self._writer.run(work, deadline)
        except IntegrityError:
            result, committed = self._writer.run(work, deadline)
        self.after_commit(committed)
        return result

    def read(self, work: Work[T]) -> T:
        """Run a read of up to a page of rows, away from the loop. Raises StoreAway."""
        result, _ = self._next_reader().run(work, time.monotonic() + WAIT)
        return result

    def peek(self, work: Work[T]) -> T:
        """Run a read of a few indexed rows right here: in WAL mode it never waits for a writer. Raises StoreAway."""
        result, _ = transact(self._loop_engine, work)
        return result

    @property
    def in_use(self) -> int:
        """How many connections are inside a transaction now."""
        return sum(lane.busy for lane in (self._writer, *self._readers))

    @cached_property
    def _loop_engine(self) -> Engine:
        return sqlite(self._url, "BEGIN", lambda: time.monotonic() + LOOP_WAIT, LOOP_WAIT)


def put(session: Session, row: Base) -> None:
    """Insert a row that nobody will change in this transaction: at once, at a fifth of the unit of work's cost."""
    session.connection().execute(insert_into(type(row)), row.values())


@cache
def insert_into(model: type[Base]) -> Insert:
    """One statement for all rows: building one costs more than running it (measured)."""
    return insert(model.table())


class Lane:
    """One native thread and the engine that only it uses, so that no lock is ever contended across threads."""

    def __init__(self, url: str, begin: str) -> None:
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

    def _attempt(self, work: Work[T], deadline: float) -> tuple[Any, Exception | None]:
        # Returned, not raised: gevent's pool prints what a task raises.
        try:
            if time.monotonic() > deadline:
                raise StoreAway("the store is busy")
            self._deadline = deadline
            return transact(self._engine, work), None
        except Exception as error:
            return None, error


def transact(engine: Engine, work: Work[T]) -> tuple[T, Committed]:
    """Run `work` in a transaction of its own; return its result and the events it appended."""
    try:
        with Session(engine, expire_on_commit=False) as session, session.begin():
            result = work(session)
        return result, session.info.get("appended", ())
    except (OperationalError, sqlite3.OperationalError) as error:
        raise StoreAway(str(getattr(error, "orig", error))) from error


def sqlite(url: str, begin: str, deadline: Callable[[], float], wait: float = WAIT) -> Engine:
    """An engine for one thread: WAL, durable commits, and transactions begun by `begin`, not by the driver.

    `deadline()` is asked when one begins: until when (monotonic seconds) it may wait for the lock.
    `wait` is how long, in seconds, opening the file may take.
    """
    engine = create_engine(
        url,
        pool_size=1,
        max_overflow=0,
        hide_parameters=True,  # message text never in a traceback
        json_serializer=lambda value: msgspec.json.encode(value).decode(),
        json_deserializer=msgspec.json.decode,
        connect_args={"isolation_level": None, "timeout": wait, "check_same_thread": False},
    )

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
