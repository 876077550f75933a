"""A participant's log: gapless, ordered, the only thing that readers resume from (DESIGN 4 and 5)."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, cast

import msgspec
from sqlalchemy import Select, bindparam, select, update
from sqlalchemy.orm import Session

from chat.epochs import random_epoch
from chat.models import Base, LogEntry, Message, Participant, Run, Thread
from chat.native import read_json, run_json, threads_json, with_tip
from chat.pages import MESSAGE_SIZE, fitting
from chat.store import Store, put
from realtime.cursor import Cursor
from realtime.event import Event, Head, Page

R = TypeVar("R", bound=Base)
Shown = dict[str, Any]

FEW = 4  # events that are a page whatever they weigh: the usual case is one, and needs no scales

# The statements of every message and stream are built once: building costs four times what running does (measured).
TAKE = (
    update(Participant.table())
    .where(Participant.id == bindparam("log"))
    .values(head=Participant.head + 1)
    .returning(Participant.epoch, Participant.head)
)
HOLD = (
    select(Participant.id)
    .where(Participant.id.in_(bindparam("logs", expanding=True)))
    .order_by(Participant.id)
    .with_for_update(key_share=True)
)
HEADS = select(Participant.id, Participant.epoch, Participant.head, Participant.floor).where(
    Participant.id.in_(bindparam("logs", expanding=True))
)


def new_epoch() -> str:
    """Name one life of a log, so that cursors of another are recognised."""
    return secrets.token_hex(4)


def rotate_epochs(store: Store, batch: int = 1000) -> int:
    """Begin a new life of every log, after a restore: cursors from before it are then told to start anew.

    A batch in a transaction, however many there are: an epoch concerns nobody but its own log.
    """
    rotated, last = 0, ""
    while logs := store.write(lambda s, last=last: rotate_some(s, last, batch)):  # type: ignore[misc]
        rotated, last = rotated + len(logs), max(logs)
    return rotated


def rotate_some(session: Session, last: str, limit: int) -> Sequence[str]:
    """Begin a new life of the first so many logs after `last`, and return their ids."""
    after = select(Participant.id).where(Participant.id > last).order_by(Participant.id).limit(limit)
    held = after.with_for_update(key_share=True).cte("held")  # in the order in which `hold` locks several
    rotated = update(Participant.table()).where(Participant.id.in_(select(held.c.id)))
    return session.scalars(rotated.values(epoch=random_epoch()).returning(Participant.id)).all()


def hold(session: Session, *logs: str) -> None:
    """Lock these logs until the commit; whoever else would change them waits, so what is read next stays true.

    Before anything else is locked, and in the order of their ids: so nobody waits for one who waits for them.
    """
    session.connection().execute(HOLD, {"logs": logs})


def take(session: Session, participant_id: str) -> Cursor:
    """Take the next place in the log and lock it until the commit, so that commit order is seq order.

    Call it last before the inserts: whoever comes next waits here.
    """
    epoch, head = session.connection().execute(TAKE, {"log": participant_id}).one()
    return Cursor(epoch, head)


def append(session: Session, log: str, place: Cursor, entry: LogEntry, shown: Shown | None) -> None:
    """Enter what changed at the `place` taken, and keep how it looks for those who are told after the commit."""
    entry.participant_id, entry.seq = log, place.seq
    put(session, entry)
    session.info.setdefault("appended", []).append((log, place.epoch, event_of(entry, shown, place.seq)))


def tell(session: Session, log: str, kind: str, thread_id: str, data: Shown) -> None:
    """Tell those who read the log now of something that stands nowhere in it, after the commit."""
    event = Event(0, kind, thread_id, msgspec.Raw(msgspec.json.encode(data)))
    session.info.setdefault("appended", []).append((log, "", event))


def event_of(entry: LogEntry, shown: Shown | None, as_of: int) -> Event:
    """The event as its readers see it. `as_of` is the head when its subject was read.

    It is the `rev` of what has none of its own: a thread's or a marker's unread count, shown in a replay as it is
    now, already counts messages that are replayed after it.
    """
    change = entry.change
    if shown is None:  # deleted since
        change, shown = "deleted", {"id": entry.subject_id, "thread_id": entry.thread_id}
    data = msgspec.json.encode({"rev": as_of, **shown, "change": change})
    return Event(entry.seq, entry.kind, entry.thread_id, msgspec.Raw(data))


def heads(session: Session, logs: Iterable[str]) -> dict[str, Head]:
    """Where each log stands; logs that do not exist are left out."""
    rows = session.execute(HEADS, {"logs": list(logs)})
    return {log: Head(epoch, head, floor) for log, epoch, head, floor in rows}


def after(session: Session, log: str, seq: int, limit: int) -> Page | None:
    """Read up to `limit` events above `seq`, oldest first, each showing its subject as it is now.

    None if they cannot be told without a gap: the log is gone, or what follows `seq` has been pruned.
    """
    head = heads(session, [log]).get(log)
    if head is None or seq < head.floor:
        return None
    query = select(LogEntry.table()).where(LogEntry.participant_id == log, LogEntry.seq > seq)
    entries = rows(session, LogEntry, query.order_by(LogEntry.seq).limit(limit))
    if entries and entries[0].seq != seq + 1:
        return None
    entries = one_page(session, entries)
    shown = look_up(session, entries)
    return Page(head, [event_of(entry, shown.get((entry.kind, entry.subject_id)), head.seq) for entry in entries])


def one_page(session: Session, entries: Sequence[LogEntry]) -> Sequence[LogEntry]:
    if len(entries) <= FEW:
        return entries
    ids = {entry.subject_id for entry in entries if entry.kind == "message"}
    query = select(Message.id, MESSAGE_SIZE.label("size")).where(Message.id.in_(ids))
    sizes = {row.id: row.size for row in session.execute(query)}
    return entries[: fitting(sizes.get(entry.subject_id, 0) for entry in entries)]


def look_up(session: Session, entries: Sequence[LogEntry]) -> dict[tuple[str, str], Shown]:
    """Read the subjects of `entries` as they are now, a query or two for each kind; those deleted are missing."""
    found: dict[tuple[str, str], Shown] = {}
    for kind, read in SUBJECTS.items():
        ids = {entry.subject_id for entry in entries if entry.kind == kind}
        found.update(((kind, id), shown) for id, shown in (read(session, ids) if ids else ()))
    return found


def rows(session: Session, model: type[R], query: Select[Any]) -> Sequence[R]:
    """Read what is only to be shown: plain rows look like the model's objects, at half the cost (measured)."""
    return cast(Sequence[R], session.execute(query).all())


Subjects = Iterable[tuple[str, Shown]]


def messages(session: Session, ids: set[str]) -> Subjects:
    query = select(Message.table(), Thread.tip_id).join(Thread, Thread.id == Message.thread_id)
    return [(row.id, with_tip(row, row.tip_id)) for row in session.execute(query.where(Message.id.in_(ids)))]  # type: ignore[arg-type]


def runs(session: Session, ids: set[str]) -> Subjects:
    query = select(Run.table()).where(Run.id.in_(ids))
    return [(row.id, run_json(row)) for row in rows(session, Run, query)]


def threads(session: Session, ids: set[str]) -> Subjects:
    rows = session.scalars(select(Thread).where(Thread.id.in_(ids))).all()
    return [(shown["id"], shown) for shown in threads_json(session, rows)]


def read_markers(session: Session, ids: set[str]) -> Subjects:
    rows = session.scalars(select(Thread.id).where(Thread.id.in_(ids))).all()
    return [(thread_id, read_json(session, thread_id)) for thread_id in rows]


SUBJECTS: dict[str, Callable[[Session, set[str]], Subjects]] = {
    "message": messages,
    "thread": threads,
    "run": runs,
    "read": read_markers,
}
