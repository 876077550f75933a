"""Whether the store still takes writes: a full disk, and a primary that became a replica, read as if all were well."""

from __future__ import annotations

import logging
import time

import gevent
from sqlalchemy import text
from sqlalchemy.orm import Session

from chat.store import Store, StoreAway

logger = logging.getLogger(__name__)

FRESH = 5.0  # seconds that a write's success is believed
AGAIN = 1.0  # seconds from a failure to the next attempt
FAILURES = 2  # in a row: one may only have waited too long for its turn
PATIENCE = 0.05  # seconds that who asks waits for the answer; what comes later is told to who asks next

NOTHING = text("UPDATE alembic_version SET version_num = version_num")  # a row written as it was, durably


class WriteCheck:
    """Asked often, it writes seldom, and never makes anybody wait."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._failures = 0
        self._due = 0.0
        self._attempt: gevent.Greenlet[[], None] | None = None

    def passes(self) -> bool:
        if time.monotonic() >= self._due and (self._attempt is None or self._attempt.dead):
            self._attempt = gevent.spawn(self._try)
        if self._attempt is not None:
            self._attempt.join(PATIENCE)
        return self._failures < FAILURES

    def _try(self) -> None:
        try:
            self._store.write(write_nothing)
        except StoreAway:
            self._failures += 1
        except Exception:
            self._failures += 1
            logger.exception("cannot try whether the store takes writes")
        else:
            self._failures = 0
        self._due = time.monotonic() + (AGAIN if self._failures else FRESH)


def write_nothing(session: Session) -> None:
    session.execute(NOTHING)
