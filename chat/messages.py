"""Messages: what a person says and what an agent replies."""

from __future__ import annotations

from textwrap import shorten
from typing import Any

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from chat import idempotency, log, runs, threads
from chat.accounts import Viewer
from chat.answers import Answer
from chat.errors import Invalid, NotFound
from chat.models import LogEntry, Message, Run, Thread
from chat.native import message_json, run_json
from chat.pages import MESSAGE_SIZE, fitting
from chat.store import put
from chat.text import PERSON_TEXT, check_length, storable

TITLE = 60  # characters of the first message that become the thread's title


def say(
    session: Session,
    viewer: Viewer,
    thread_id: str,
    text: str,
    data: dict[str, Any] | None = None,
    client_id: str | None = None,
) -> tuple[dict[str, Any], bool]:
    """A person says something; the question to the agent commits with it.

    Returns the message as JSON and whether it is a repeat of the same client_id. Raises NotFound, Invalid for a text
    that cannot be, Conflict for a client_id that meant something else.
    """
    thread = threads.hold_own(session, viewer, thread_id)
    check_said(text, data, client_id)
    meaning = idempotency.meaning_of(thread_id, text, data)
    kept = client_id and idempotency.recall(session, thread.participant_id, client_id, meaning)
    if kept:
        return message_json(repeated(session, kept["id"])), True
    message = enter(
        session,
        thread,
        author=viewer.user.name,
        direction="incoming",
        text=text,
        data=data,
        client_id=client_id,
    )
    shown = message_json(message)
    if client_id:
        idempotency.remember(session, thread.participant_id, client_id, meaning, {"id": message.id})
    if thread.title is None and text.strip():
        threads.rename(session, thread, title_of(text))
    runs.start(session, thread, message)
    return shown, False


def reply(session: Session, thread: Thread, answer: Answer, run_id: str | None = None) -> Message:
    """The thread's agent says something."""
    return enter(
        session,
        thread,
        author=thread.agent.name,
        direction="outgoing",
        kind=answer.kind,
        text=answer.text,
        data=answer.data,
        run_id=run_id,
    )


def enter(session: Session, thread: Thread, **said: Any) -> Message:
    place = log.take(session, thread.participant_id)
    message = Message(thread_id=thread.id, participant_id=thread.participant_id, seq=place.seq, rev=place.seq, **said)
    put(session, message)
    threads.touch(session, thread, message)
    entry = LogEntry(kind="message", change="created", thread_id=thread.id, subject_id=message.id)
    log.append(session, thread.participant_id, place, entry, message_json(message))
    return message


def repeated(session: Session, message_id: str) -> Message:
    """The message said before; only its id is kept with the key, so that what is deleted is gone. Raises NotFound."""
    message = session.get(Message, message_id)
    if message is None:
        raise NotFound("deleted", "this message has been deleted since")
    return message


def title_of(text: str) -> str:
    """The beginning of a text, in one line, cut at a word where there is one."""
    words = " ".join(text.split())
    cut = shorten(words, TITLE, placeholder="…")
    return cut if cut != "…" else f"{words[: TITLE - 1]}…"


def check_said(text: str, data: dict[str, Any] | None, client_id: str | None) -> None:
    if not text.strip() and data is None:
        raise Invalid("empty", "a message needs text or data", "text")
    check_length(storable(text, "text"), PERSON_TEXT, "text")
    storable(data, "data")
    if client_id is not None and not 0 < len(client_id) <= 100:
        raise Invalid("invalid", "the client_id must have 1 to 100 characters", "client_id")
    storable(client_id, "client_id")


def history(
    session: Session,
    viewer: Viewer,
    thread_id: str,
    before: int | None = None,
    after: int | None = None,
    limit: int = 50,
) -> dict[str, Any]:
    """A page of a thread, oldest first, with the runs of its messages and the log's cursor, read first.

    It holds `limit` messages, or fewer large ones. `next` is the seq to pass on as `after`, if that was given, else as
    `before`; None at the end. Raises NotFound.
    """
    thread = threads.fetch(session, viewer, thread_id)
    cursor = threads.log_cursor(session, thread.participant_id)
    query = select(Message.id, Message.seq, MESSAGE_SIZE.label("size")).where(Message.thread_id == thread.id)
    if before is not None:
        query = query.where(Message.seq < before)
    if after is not None:
        query = query.where(Message.seq > after)
    order = Message.seq.desc() if after is None else Message.seq
    rows = session.execute(query.order_by(order).limit(limit + 1)).all()
    count = min(limit, fitting(row.size for row in rows))
    following = rows[count - 1].seq if len(rows) > count else None
    ids = [row.id for row in rows[:count]]
    page = list(session.scalars(select(Message).where(Message.id.in_(ids)).order_by(Message.seq)))
    return {
        "items": [message_json(message) for message in page],
        "next": following,
        "cursor": cursor,
        "runs": runs_of(session, thread, page),
    }


def runs_of(session: Session, thread: Thread, page: list[Message]) -> list[dict[str, Any]]:
    """The runs of these messages, and those open that nobody asked for: the agent is at work all the same."""
    ids = [message.id for message in page if message.direction == "incoming"]
    unasked = and_(Run.thread_id == thread.id, Run.message_id.is_(None), Run.status.in_(runs.OPEN))
    query = select(Run).where(or_(Run.message_id.in_(ids), unasked)).order_by(Run.id)
    return [run_json(run) for run in session.scalars(query)]


def earlier(session: Session, message: Message, limit: int) -> list[Message]:
    """Up to `limit` messages of the thread that this one follows, newest first.

    A question may have waited for the answers to those before it: they belong to what it follows, too.
    """
    follows = or_(Message.seq < message.seq, Message.direction == "outgoing")
    query = select(Message).where(Message.thread_id == message.thread_id, follows)
    return list(session.scalars(query.order_by(Message.seq.desc()).limit(limit)))
