"""Forgets what nobody needs any more: events too old to catch up by, and what was kept to recognise repeats.

Messages, threads and runs stay; they are the conversation. Only the pruner moves a log's `floor`.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gevent
from sqlalchemy import ColumnElement, delete, select, tuple_, update
from sqlalchemy.orm import Session

from chat.accounts import DAY
from chat.ids import now_ms
from chat.models import Base, Delivery, IdempotencyKey, LogEntry, Participant, SignIn
from chat.store import Store, StoreAway

logger = logging.getLogger(__name__)

KEPT = 10_000  # events of a log by which a page may catch up; beyond that it is reset anyway (realtime.stream.FARTHEST)
SLACK = 1_000  # more of them before a log is looked at: not for every event that is added
KEYS_DAYS = 7  # a repeat is recognised for a week at least, however short the retention
BATCH = 1_000  # rows removed in one transaction, so that nobody waits long for the lock
REST = 0.05  # seconds between two batches
EVERY = 3600.0  # seconds, +-20 %


class Pruner:
    """Prunes in the background. Each worker has one; the second that comes finds nothing to do."""

    def __init__(self, store: Store, retention_days: int) -> None:
        self._store = store
        self._days = retention_days

    def start(self) -> None:
        if self._days:
            gevent.spawn(self._run)

    def _run(self) -> None:
        while True:
            gevent.sleep(EVERY * random.uniform(0.8, 1.2))
            try:
                self.prune()
            except StoreAway as error:
                logger.warning("pruning is put off: %s", error)
            except Exception:
                logger.exception("cannot prune")

    def prune(self) -> int:
        """Remove all that is due, a batch at a time, and return how many rows went. Raises StoreAway."""
        cutoff = now_ms() - self._days * DAY
        keys_cutoff = min(cutoff, now_ms() - KEYS_DAYS * DAY)
        removed = self._all(lambda s: drop(s, Delivery, Delivery.created_at < cutoff))
        removed += self._all(lambda s: drop(s, SignIn, SignIn.expires_at < cutoff))
        removed += self._all(lambda s: drop(s, IdempotencyKey, IdempotencyKey.created_at < keys_cutoff))
        for log in self._due(cutoff):
            removed += self._all(lambda s, log=log: prune_log(s, log, cutoff))  # type: ignore[misc]
        if removed:
            logger.info("pruned %d rows", removed)
        return removed

    def _due(self, cutoff: int) -> Iterator[str]:
        """The logs that hold something too old, or too much."""
        last = ""
        while logs := self._store.read(lambda s, last=last: look_at(s, last)):  # type: ignore[misc]
            yield from (log.id for log in logs if log.too_much or log.oldest < cutoff)
            last = logs[-1].id
            gevent.sleep(REST)

    def _all(self, batch: Callable[[Session], int]) -> int:
        removed = 0
        while count := self._store.write(batch):
            removed += count
            gevent.sleep(REST)
        return removed


def look_at(session: Session, last: str) -> Sequence[Any]:
    """One batch of the logs that hold anything, in the order of their ids after `last`: (id, oldest, too_much)."""
    oldest = (LogEntry.participant_id == Participant.id) & (LogEntry.seq == Participant.floor + 1)
    too_much = Participant.head - Participant.floor > KEPT + SLACK
    columns = select(Participant.id, LogEntry.created_at.label("oldest"), too_much.label("too_much"))
    query = columns.join(LogEntry, oldest).where(Participant.id > last).order_by(Participant.id).limit(BATCH)
    return session.execute(query).all()


def prune_log(session: Session, log: str, cutoff: int) -> int:
    """Move the floor of a log up by one batch at most, remove what lies below, and return how many events that were."""
    where = session.execute(select(Participant.floor, Participant.head).where(Participant.id == log)).one_or_none()
    if where is None:
        return 0  # deleted meanwhile
    oldest = select(LogEntry.seq, LogEntry.created_at).where(LogEntry.participant_id == log, LogEntry.seq > where.floor)
    rows = session.execute(oldest.order_by(LogEntry.seq).limit(BATCH)).all()
    too_many = where.head - KEPT
    gone = [row.seq for row in rows if row.created_at < cutoff or row.seq <= too_many]
    if not gone:
        return 0
    # The floor before the rows: a reader who sees them missing sees why.
    session.execute(
        update(Participant).where(Participant.id == log, Participant.floor < gone[-1]).values(floor=gone[-1])
    )
    session.execute(delete(LogEntry).where(LogEntry.participant_id == log, LogEntry.seq <= gone[-1]))
    return len(gone)


def drop(session: Session, model: type[Base], condition: ColumnElement[bool]) -> int:
    """Remove one batch of the rows of which it is true."""
    keys = model.table().primary_key.columns
    batch = session.execute(select(*keys).where(condition).limit(BATCH)).all()
    if batch:
        session.execute(delete(model).where(tuple_(*keys).in_([tuple(row) for row in batch])))
    return len(batch)
