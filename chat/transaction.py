"""One transaction on any database: run whole or not at all, and what its errors mean to those who asked for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import msgspec
from sqlalchemy import Engine
from sqlalchemy.exc import DatabaseError, DataError, DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.orm import Session

from chat.errors import Invalid
from realtime.event import Event

T = TypeVar("T")
Work = Callable[[Session], T]
Committed = Sequence[tuple[str, str, Event]]  # (log, epoch, event), in commit order

WAIT = 2.0  # seconds a transaction may wait for its turn and for the lock

# Out of the middle of a restore, or of a failover to where we may not write.
MISSING = ("42P01", "3F000", "42501")  # undefined_table, invalid_schema_name, insufficient_privilege
MIGRATED = "0A000"  # feature_not_supported: a table has changed under a statement that was prepared
TOO_LONG = "54000"  # program_limit_exceeded: a text that its index cannot take


class StoreAway(OSError):
    """The store could not commit or read in time.

    Whether it committed is known to no one: asking again, with the same key, finds out.
    """


class Database(Protocol):
    """What a store needs of a kind of database. `deadline` is in monotonic seconds; all raise StoreAway."""

    def write(self, work: Work[T], deadline: float) -> tuple[T, Committed]: ...
    def read(self, work: Work[T], deadline: float) -> T: ...
    def peek(self, work: Work[T], wait: float | None) -> T: ...
    def close(self) -> None: ...

    @property
    def in_use(self) -> int: ...


# For every engine: message text never in a traceback, and JSON as the rest of us writes it.
ENGINE: dict[str, Any] = {
    "hide_parameters": True,
    "json_serializer": lambda value: msgspec.json.encode(value).decode(),
    "json_deserializer": msgspec.json.decode,
}


def transact(engine: Engine, work: Work[T]) -> tuple[T, Committed]:
    """Run `work` in a transaction of its own; return its result and the events it appended.

    Raises StoreAway, Invalid for what no database can hold, and whatever `work` raises.
    """
    try:
        with Session(engine, expire_on_commit=False) as session, session.begin():
            result = work(session)
        return result, session.info.get("appended", ())
    except DBAPIError as error:
        raise meaning_of(error) from error


def meaning_of(error: DBAPIError) -> Exception:
    """What a database's error is to the caller; one that is none of ours to answer stays as it is."""
    state = getattr(error.orig, "sqlstate", None)
    if isinstance(error, DataError) or state == TOO_LONG:
        return Invalid("unstorable", "this holds a text or a number that cannot be stored")
    # The bare DatabaseError is SQLite's word for a file that is damaged.
    away = isinstance(error, OperationalError | InterfaceError | InternalError) or type(error) is DatabaseError
    if away or state in (*MISSING, MIGRATED):
        return StoreAway(" ".join(str(error.orig).split()))
    return error
