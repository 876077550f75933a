"""Messages: what a person says and what an agent replies."""

from __future__ import annotations

from textwrap import shorten
from typing import Any

from sqlalchemy import and_, or_, select
from sqlalchemy import delete as sql_delete
from sqlalchemy.orm import Session

from chat import branches, idempotency, log, runs, threads
from chat.accounts import Viewer
from chat.errors import Invalid, NotFound
from chat.models import LogEntry, Message, Run, Thread
from chat.native import message_json, run_json, with_tip
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
        return with_tip(repeated(session, kept["id"]), thread.tip_id), True
    message = ask(session, viewer, thread, thread.tip_id, text, data=data, client_id=client_id)
    shown = with_tip(message, thread.tip_id)
    if client_id:
        idempotency.remember(session, thread.participant_id, client_id, meaning, {"id": message.id})
    if thread.title is None and text.strip():
        threads.change(session, thread, title=title_of(text))
    runs.start(session, thread, message)
    return shown, False


def ask(session: Session, viewer: Viewer, thread: Thread, parent_id: str | None, text: str, **more: Any) -> Message:
    """Enter what the viewer says after `parent_id`."""
    said = {"author": viewer.user.name, "direction": "incoming", "text": text, **more}
    return enter(session, thread, parent_id=parent_id, **said)


def reply(session: Session, thread: Thread, text: str, run: Run | None = None, **more: Any) -> Message:
    """The thread's agent says something, as part of what it answers in `run` or besides. What follows moves behind it.

    The caller tells of the run, which may end with this.
    """
    parent_id = run.after_id if run else branches.tip_of(session, thread.id)
    said = {"author": thread.agent.name, "direction": "outgoing", "text": text, "run_id": run and run.id, **more}
    message = enter(session, thread, parent_id=parent_id, **said)
    for other in runs.following(session, thread.id, parent_id):
        if other is run or other.status not in runs.OPEN:
            other.after_id = message.id
        else:
            runs.change(session, other, after_id=message.id)
    for question in branches.questions_after(session, thread.id, parent_id) if parent_id else ():
        change(session, question, parent_id=message.id)
    return message


def enter(session: Session, thread: Thread, **said: Any) -> Message:
    place = log.take(session, thread.participant_id)
    message = Message(thread_id=thread.id, participant_id=thread.participant_id, seq=place.seq, rev=place.seq, **said)
    put(session, message)
    threads.touch(session, thread, message)
    entry = LogEntry(kind="message", change="created", thread_id=thread.id, subject_id=message.id)
    log.append(session, thread.participant_id, place, entry, with_tip(message, thread.tip_id))
    return message


def change(session: Session, message: Message, **values: Any) -> None:
    """Set columns of the message and tell its readers."""
    place = log.take(session, message.participant_id)
    for name, value in values.items():
        setattr(message, name, value)
    message.rev = place.seq
    session.flush()
    entry = LogEntry(kind="message", change="updated", thread_id=message.thread_id, subject_id=message.id)
    shown = with_tip(message, branches.tip_of(session, message.thread_id))
    log.append(session, message.participant_id, place, entry, shown)


def remove(session: Session, message: Message) -> None:
    """Remove a message that nothing follows."""
    place = log.take(session, message.participant_id)
    session.execute(sql_delete(Message).where(Message.id == message.id))
    entry = LogEntry(kind="message", change="deleted", thread_id=message.thread_id, subject_id=message.id)
    log.append(session, message.participant_id, place, entry, None)


def fetch_own(session: Session, viewer: Viewer, message_id: str) -> tuple[Thread, Message]:
    """Fetch a message of the viewer's own threads, and its thread, for a transaction that writes. Raises NotFound."""
    log.hold(session, viewer.participant_id)
    message = None if "\x00" in message_id else session.get(Message, message_id)
    if message is None or message.participant_id != viewer.participant_id:
        raise NotFound("unknown_message", "there is no such message, or it is not yours")
    return session.get_one(Thread, message.thread_id), message


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
    idempotency.check_client_id(client_id)


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
        "tip_id": thread.tip_id,
        "runs": runs_of(session, thread, page),
    }


def runs_of(session: Session, thread: Thread, page: list[Message]) -> list[dict[str, Any]]:
    """The runs of these messages, and those that are open: the agent is at work, wherever its question stands."""
    ids = [message.id for message in page if message.direction == "incoming"]
    under_way = and_(Run.thread_id == thread.id, Run.status.in_(runs.OPEN))
    query = select(Run).where(or_(Run.message_id.in_(ids), under_way)).order_by(Run.id)
    return [run_json(run) for run in session.scalars(query)]
