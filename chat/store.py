"""The store: the one place where transactions begin and end. It is the truth; everything else only hints."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import cache

from sqlalchemy import URL, Insert, insert, make_url
from sqlalchemy.exc import ArgumentError, IntegrityError
from sqlalchemy.orm import Session, configure_mappers

from chat.models import Base
from chat.transaction import WAIT, Committed, Database, StoreAway, T, Work, transact

__all__ = ["Committed", "Store", "StoreAway", "Work", "address", "insert_into", "put", "transact"]

logger = logging.getLogger(__name__)

POOL = 10  # connections
CONNECT = "2"  # seconds a server may take to let us in; the driver's own default is two minutes


class Store:
    """Runs transactions. `after_commit` is told the events of each one that committed, before its caller goes on.

    `pool` is how many connections it may hold, where the database is a server.
    """

    def __init__(
        self, url: str, after_commit: Callable[[Committed], None] = lambda committed: None, pool: int = POOL
    ) -> None:
        self.after_commit = after_commit
        self.url = url
        self._database = database_at(address(url), pool)
        configure_mappers()  # now, in one thread: its lock is not for several

    def write(self, work: Work[T]) -> T:
        """Run `work` in one durable transaction and return what it returned.

        Raises StoreAway when it could not commit. `work` runs again, once, if it met a unique constraint: someone did
        the same at the same instant, and the second look sees what they did.
        """
        deadline = time.monotonic() + WAIT
        try:
            result, committed = self._database.write(work, deadline)
        except IntegrityError:
            result, committed = self._database.write(work, deadline)
        try:
            self.after_commit(committed)
        except Exception:  # it is stored, and that is what the caller is told
            logger.exception("cannot tell of what was committed; the tick will")
        return result

    def read(self, work: Work[T]) -> T:
        """Run a read of up to a page of rows. Raises StoreAway."""
        return self._database.read(work, time.monotonic() + WAIT)

    def peek(self, work: Work[T], wait: float | None = None) -> T:
        """Run a read of a few indexed rows, which needs no thread of its own. Raises StoreAway.

        It waits for at most `wait` seconds, and never for longer than such a read may take.
        """
        return self._database.peek(work, wait)

    def close(self) -> None:
        """Let go of what it holds open; whoever asks again opens it again."""
        self._database.close()

    @property
    def in_use(self) -> int:
        """How many connections are inside a transaction now."""
        return self._database.in_use


def address(url: str) -> URL:
    """Read a DATABASE_URL. Raises ValueError, which does not repeat the password."""
    scheme = url.partition(":")[0]
    try:
        if scheme in ("postgresql", "postgresql+psycopg", "postgres"):
            parsed = make_url(url).set(drivername="postgresql+psycopg")
            return parsed.update_query_dict({"connect_timeout": CONNECT, **parsed.query})
        if url.startswith("sqlite:///"):
            return make_url(url)
    except (ArgumentError, ValueError):
        raise ValueError(f"DATABASE_URL cannot be read; it must look like {scheme}://user:password@host/name") from None
    raise ValueError(f"DATABASE_URL must be sqlite:///path or postgresql://user:password@host/name, not {scheme}:…")


def database_at(url: URL, pool: int) -> Database:
    # Imported when it is used: psycopg is no business of those who have SQLite.
    if url.get_backend_name() == "sqlite":
        from chat.sqlite import SQLite

        return SQLite(url)
    from chat.postgres import Postgres

    return Postgres(url, pool)


def put(session: Session, row: Base) -> None:
    """Insert a row that nobody will change in this transaction: at once, at a fifth of the unit of work's cost."""
    session.connection().execute(insert_into(type(row)), row.values())


@cache
def insert_into(model: type[Base]) -> Insert:
    """One statement for all rows: building one costs more than running it (measured)."""
    return insert(model.table())
