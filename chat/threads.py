"""Threads: conversations of one participant with one agent."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import bindparam, select, tuple_
from sqlalchemy import delete as sql_delete
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from chat import branches, idempotency, log
from chat.accounts import Viewer
from chat.agents import find_agent
from chat.errors import Invalid, NotFound
from chat.models import LogEntry, Message, Participant, ReadMarker, Thread
from chat.native import read_json, threads_json

TITLE = 200  # characters
FIND = select(Thread).where(Thread.id == bindparam("thread"))


def fetch(session: Session, viewer: Viewer, thread_id: str) -> Thread:
    """Fetch a thread that the viewer may read: their own, or any of their tenant for an operator. Raises NotFound."""
    thread = find(session, thread_id)
    if thread is None or not may_read(viewer, thread):
        raise not_found()
    return thread


def fetch_own(session: Session, viewer: Viewer, thread_id: str) -> Thread:
    """Fetch a thread that the viewer may write in: only their own. Raises NotFound."""
    thread = find(session, thread_id)
    if thread is None or thread.participant_id != viewer.participant_id:
        raise not_found()
    return thread


def hold_own(session: Session, viewer: Viewer, thread_id: str) -> Thread:
    """As `fetch_own`, for a transaction that writes: nobody else changes anything of the viewer's until it is over."""
    log.hold(session, viewer.participant_id)
    return fetch_own(session, viewer, thread_id)


def find(session: Session, thread_id: str) -> Thread | None:
    if "\x00" in thread_id:
        return None  # PostgreSQL would not even look
    return session.scalar(FIND, {"thread": thread_id})


def among_own(session: Session, viewer: Viewer, thread_ids: Collection[str]) -> list[str]:
    """Which of these are the viewer's own threads."""
    own = select(Thread.id).where(Thread.participant_id == viewer.participant_id, Thread.id.in_(thread_ids))
    return list(session.scalars(own)) if not any("\x00" in id for id in thread_ids) else []


def may_read(viewer: Viewer, thread: Thread) -> bool:
    if thread.participant_id == viewer.participant_id:
        return True
    return viewer.is_operator and thread.tenant_id == viewer.user.tenant_id


def not_found() -> NotFound:
    return NotFound("unknown_thread", "there is no such thread, or it is not yours")


def create_once(
    session: Session, viewer: Viewer, agent_name: str, title: str | None, client_id: str | None
) -> tuple[dict[str, Any], bool]:
    """As `create`, but for the same `client_id` the same thread again; return also whether it was. Raises Conflict."""
    if client_id is None:
        return create(session, viewer, agent_name, title), False
    idempotency.check_client_id(client_id)
    log.hold(session, viewer.participant_id)
    meaning = idempotency.meaning_of("thread", agent_name, title)
    if kept := idempotency.recall(session, viewer.participant_id, client_id, meaning):
        [shown] = threads_json(session, [fetch_own(session, viewer, kept["id"])])
        return shown, True
    shown = create(session, viewer, agent_name, title)
    idempotency.remember(session, viewer.participant_id, client_id, meaning, {"id": shown["id"]})
    return shown, False


def create(session: Session, viewer: Viewer, agent_name: str, title: str | None) -> dict[str, Any]:
    """Open a thread with an agent of the viewer's tenant; return it as JSON. Raises Invalid for an unknown agent."""
    agent = find_agent(session, viewer.user.tenant_id, agent_name)
    participant = viewer.participant_id
    place = log.take(session, participant)
    thread = Thread(tenant_id=agent.tenant_id, participant_id=participant, agent_id=agent.id, title=title)
    thread.agent = agent
    session.add(thread)
    session.flush()
    [shown] = threads_json(session, [thread])
    entry = LogEntry(kind="thread", change="created", thread_id=thread.id, subject_id=thread.id)
    log.append(session, participant, place, entry, shown)
    return shown


def change(session: Session, thread: Thread, **values: Any) -> dict[str, Any]:
    """Set columns of the thread and tell its readers; return it as JSON. Its log was held when it was loaded."""
    place = log.take(session, thread.participant_id)
    for name, value in values.items():
        setattr(thread, name, value)
    session.flush()
    [shown] = threads_json(session, [thread])
    entry = LogEntry(kind="thread", change="updated", thread_id=thread.id, subject_id=thread.id)
    log.append(session, thread.participant_id, place, entry, shown)
    return shown


def delete(session: Session, viewer: Viewer, thread_id: str) -> None:
    """Delete a thread and all that was said in it. Its events stay and point at nothing."""
    thread = hold_own(session, viewer, thread_id)
    place = log.take(session, thread.participant_id)
    session.execute(sql_delete(Thread).where(Thread.id == thread.id))
    entry = LogEntry(kind="thread", change="deleted", thread_id=thread.id, subject_id=thread.id)
    log.append(session, viewer.participant_id, place, entry, None)


def page(session: Session, viewer: Viewer, before: str | None, limit: int) -> dict[str, Any]:
    """The viewer's threads, newest change first, below the opaque cursor `before`; and the log's cursor, read first."""
    cursor = log_cursor(session, viewer.participant_id)
    query = select(Thread).where(Thread.participant_id == viewer.participant_id)
    if before is not None:
        query = query.where(tuple_(Thread.updated_at, Thread.id) < parse_before(before))
    rows = session.scalars(query.order_by(Thread.updated_at.desc(), Thread.id.desc()).limit(limit + 1)).all()
    items, more = rows[:limit], rows[limit:]
    following = f"{items[-1].updated_at}.{items[-1].id}" if more else None
    return {"items": threads_json(session, items), "next": following, "cursor": cursor}


def parse_before(text: str) -> tuple[int, str]:
    updated_at, _, thread_id = text.partition(".")
    if not (updated_at.isascii() and updated_at.isdigit() and len(updated_at) < 16):
        raise Invalid("before", "the parameter before must be the `next` of an earlier answer", "before")
    return int(updated_at), thread_id


def log_cursor(session: Session, participant_id: str) -> str:
    """Where the log stands. Read before the rows that go with it: what comes between is seen twice, never missed."""
    row = session.execute(select(Participant.epoch, Participant.head).where(Participant.id == participant_id)).one()
    return f"{row.epoch}.{row.head}"


def mark_read(session: Session, viewer: Viewer, thread_id: str, seq: int) -> dict[str, Any]:
    """Move the read marker up to `seq`, never down; return it with what is left unread."""
    thread = hold_own(session, viewer, thread_id)
    marker = session.get(ReadMarker, thread.id) or ReadMarker(thread_id=thread.id, seq=0)
    seq = min(seq, thread.last_seq)
    if seq > marker.seq:
        place = log.take(session, thread.participant_id)
        marker.seq = seq
        session.add(marker)
        session.flush()
        entry = LogEntry(kind="read", change="updated", thread_id=thread.id, subject_id=thread.id)
        log.append(session, thread.participant_id, place, entry, read_json(session, thread.id))
    return read_json(session, thread.id)


def touch(session: Session, thread: Thread, message: Message) -> None:
    """Note the thread's newest message, which moves it up in the list; if it follows the tip, that is the tip now."""
    tip_id = branches.follow(session, message)
    known = {"last_seq": message.seq, "updated_at": message.created_at, "tip_id": tip_id}
    for name, value in known.items():
        set_committed_value(thread, name, value)  # written already
