"""Native JSON: how messages, threads, runs and read markers look from outside (DESIGN 10)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session

from chat.ids import rfc3339
from chat.models import Message, ReadMarker, Run, Thread

PREVIEW = 200  # characters of the newest message that a thread list shows


def message_json(message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "thread_id": message.thread_id,
        "seq": message.seq,
        "rev": message.rev,
        "author": message.author,
        "direction": message.direction,
        "kind": message.kind,
        "text": message.text,
        "data": message.data,
        "parts": message.parts,
        "feedback": message.feedback,
        "parent_id": message.parent_id,
        "topic": message.topic,
        "client_id": message.client_id,
        "run_id": message.run_id,
        "created_at": rfc3339(message.created_at),
        "edited_at": rfc3339(message.edited_at),
    }


def with_tip(message: Message, tip_id: str | None) -> dict[str, Any]:
    """A message and where its thread goes on, which it may have changed."""
    return {**message_json(message), "tip_id": tip_id}


def run_json(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "thread_id": run.thread_id,
        "message_id": run.message_id,
        "agent_id": run.agent_id,
        "after_id": run.after_id if run.ended_at is None else None,
        "status": run.status,
        "error": run.error,
        "attempts": run.attempts,
        "late_after_ms": run.late_after_ms,
        "usual_ms": run.usual_ms,
        "rev": run.rev,
        "created_at": rfc3339(run.created_at),
        "started_at": rfc3339(run.started_at),
        "ended_at": rfc3339(run.ended_at),
    }


def threads_json(session: Session, threads: Sequence[Thread]) -> list[dict[str, Any]]:
    """Threads with their newest message and unread count, in the order given: three queries for any number."""
    newest = newest_messages(session, threads)
    unread = unread_counts(session, [thread.id for thread in threads])
    return [thread_json(thread, newest.get(thread.id), unread.get(thread.id, 0)) for thread in threads]


def thread_json(thread: Thread, newest: Message | None, unread: int) -> dict[str, Any]:
    return {
        "id": thread.id,
        "agent": {"id": thread.agent.id, "name": thread.agent.name},
        "title": thread.title,
        "topics": [],
        "tip_id": thread.tip_id,
        "last_message": newest and preview_json(newest),
        "unread": unread,
        "created_at": rfc3339(thread.created_at),
        "updated_at": rfc3339(thread.updated_at),
    }


def preview_json(message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "seq": message.seq,
        "direction": message.direction,
        "kind": message.kind,
        "text": message.text[:PREVIEW],
        "created_at": rfc3339(message.created_at),
    }


def read_json(session: Session, thread_id: str) -> dict[str, Any]:
    marker = session.get(ReadMarker, thread_id)
    unread = unread_counts(session, [thread_id]).get(thread_id, 0)
    return {"thread_id": thread_id, "seq": marker.seq if marker else 0, "unread": unread}


def newest_messages(session: Session, threads: Sequence[Thread]) -> dict[str, Message]:
    keys = [(thread.participant_id, thread.last_seq) for thread in threads]
    query = select(Message).where(tuple_(Message.participant_id, Message.seq).in_(keys))
    return {message.thread_id: message for message in session.scalars(query)}


def unread_counts(session: Session, thread_ids: Sequence[str]) -> dict[str, int]:
    """How many messages of the agent stand above each thread's read marker; threads with none are left out."""
    query = (
        select(Message.thread_id, func.count())
        .outerjoin(ReadMarker, ReadMarker.thread_id == Message.thread_id)
        .where(
            Message.thread_id.in_(thread_ids),
            Message.direction == "outgoing",
            Message.seq > func.coalesce(ReadMarker.seq, 0),
        )
        .group_by(Message.thread_id)
    )
    return {row[0]: row[1] for row in session.execute(query)}
