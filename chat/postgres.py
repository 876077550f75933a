"""PostgreSQL as a store: psycopg straight in the loop, where it waits as gevent does, and a bound around everything.

A server can be gone, paused, restarting or handing over at any time, and the driver's own limits do not cover every
wait. So each transaction, its connection included, is ended from outside when its time is over.
"""

from __future__ import annotations

import time
from typing import Any
from weakref import finalize

import gevent
import psycopg
from gevent.lock import BoundedSemaphore
from gevent.monkey import is_module_patched
from psycopg import waiting
from psycopg.errors import FeatureNotSupported, ReadOnlySqlTransaction
from sqlalchemy import URL, Engine, create_engine, event

from chat.transaction import ENGINE, Committed, StoreAway, T, Work, transact

PEEK_WAIT = 1.0  # seconds; a request peeks and then writes, and must be refused within three

# How we connect, unless the URL says otherwise. Silence is noticed within about 15 s, an answer is awaited for 2.
CONNECT: dict[str, Any] = {
    "application_name": "backchannel",
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # ms
    "target_session_attrs": "read-write",  # of several hosts the primary; one that was demoted is none
    # Of several hosts, too: a dead first one would use up all the time, every time.
    "load_balance_hosts": "random",
}
# A worker that vanishes with its machine must not keep its locks until TCP gives up.
OPTIONS = "-c lock_timeout=2s -c idle_in_transaction_session_timeout=10s"


class Postgres:
    """At most `pool` transactions at once, each on a connection of its own; the others wait their turn."""

    def __init__(self, url: URL, pool: int) -> None:
        refuse_to_block()
        self._engine = postgres(url, pool)
        self._writing = self._engine.execution_options(isolation_level="READ COMMITTED")
        # A page and its cursor as they were at one instant: else what comes between the two is shown twice.
        self._reading = self._engine.execution_options(isolation_level="REPEATABLE READ")
        self._pool = pool
        self._free = BoundedSemaphore(pool)
        self._finish = finalize(self, self._engine.dispose)

    def write(self, work: Work[T], deadline: float) -> tuple[T, Committed]:
        return self._run(self._writing, work, deadline)

    def read(self, work: Work[T], deadline: float) -> T:
        return self._run(self._reading, work, deadline)[0]

    def peek(self, work: Work[T], wait: float | None = None) -> T:
        """Each statement for itself: what is one query needs no BEGIN and no COMMIT."""
        deadline = time.monotonic() + min(PEEK_WAIT, PEEK_WAIT if wait is None else wait)
        return self._run(self._engine, work, deadline)[0]

    def close(self) -> None:
        self._engine.dispose()

    @property
    def in_use(self) -> int:
        return self._pool - self._free.counter

    def _run(self, engine: Engine, work: Work[T], deadline: float) -> tuple[T, Committed]:
        # Not the pool's own queue: one who is woken there as his time is over takes the next one's turn with him.
        if not self._free.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise StoreAway("every connection is busy")
        try:
            return bounded(engine, work, deadline)
        finally:
            self._free.release()


def bounded(engine: Engine, work: Work[T], deadline: float) -> tuple[T, Committed]:
    """Run a transaction until its deadline. Its connection is thrown away if it has not answered by then."""
    timeout = gevent.Timeout.start_new(max(0.001, deadline - time.monotonic()))
    try:
        return run(engine, work)
    except BaseException:
        # Once the time is over: the driver, interrupted, may raise something of its own instead of the Timeout.
        if timeout.pending:
            raise
        raise StoreAway("the database did not answer in time") from None
    finally:
        timeout.close()


def run(engine: Engine, work: Work[T]) -> tuple[T, Committed]:
    try:
        return transact(engine, work)
    except psycopg.Error as error:  # from the pool's ping, which SQLAlchemy does not wrap
        raise StoreAway(" ".join(str(error).split())) from error


def refuse_to_block() -> None:
    """psycopg chooses when imported how to wait. Before gevent's patch it chose one that stops the whole loop."""
    if is_module_patched("select") and waiting.wait is getattr(waiting, "wait_c", None):
        raise RuntimeError("psycopg was imported before gevent's patch: it would block the loop")


def postgres(url: URL, pool: int) -> Engine:
    engine = create_engine(
        url,
        pool_size=pool,
        max_overflow=0,
        pool_pre_ping=True,
        pool_use_lifo=True,  # after a rush the rest falls idle
        # So a ping that is interrupted need not change the mode back, which fails and hides the interruption.
        isolation_level="AUTOCOMMIT",
        use_native_hstore=False,  # a question at the first connection, for what we do not use
        connect_args=connect_arguments(url),
        **ENGINE,
    )

    @event.listens_for(engine, "handle_error")
    def look_at(context: Any) -> None:
        tell_less(context)
        # Demoted, or migrated: with none of these connections can we go on.
        if isinstance(context.original_exception, ReadOnlySqlTransaction | FeatureNotSupported):
            context.is_disconnect = True

    return engine


def connect_arguments(url: URL) -> dict[str, Any]:
    ours = {name: value for name, value in CONNECT.items() if name not in url.query}
    return {**ours, "options": f"{OPTIONS} {url.query.get('options', '')}".strip()}


def tell_less(context: Any) -> None:
    """Keep only the first line of what PostgreSQL says: its details quote the row, and so what somebody wrote."""
    error = context.original_exception
    said = getattr(getattr(error, "diag", None), "message_primary", None)
    if said is not None:
        error.args = (said,)
        if context.sqlalchemy_exception is not None:
            context.sqlalchemy_exception.args = (f"({type(error).__name__}) {said}",)
