"""Branches: messages are a tree by `parent_id`; a thread's `tip_id` is the end of the branch that is shown and goes on.

A question that is asked anew, or in other words, begins another branch beside the old one. Logs are held before.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import bindparam, case, exists, literal, select, update
from sqlalchemy.orm import Session, aliased

from chat.models import Dispatch, Message, Run, Thread

TIP = select(Thread.tip_id).where(Thread.id == bindparam("thread"))
FROM_HERE = Thread.tip_id.is_not_distinct_from(bindparam("parent"))
FOLLOW = (
    update(Thread.table())
    .where(Thread.id == bindparam("thread"))
    .values(
        last_seq=bindparam("last"),
        updated_at=bindparam("at"),
        tip_id=case((FROM_HERE, bindparam("message")), else_=Thread.tip_id),
    )
    .returning(Thread.tip_id)
)

again = aliased(Run)
# The questions that wait for the answers to others and were never put.
QUEUE = (
    select(Message, Run)
    .join(Run, Run.message_id == Message.id)
    .join(Dispatch, Dispatch.run_id == Run.id)
    .where(Run.thread_id == bindparam("thread"), Run.status == "queued", Run.started_at.is_(None))
    .where(Dispatch.accepted_at.is_(None), ~exists().where(again.message_id == Message.id, again.id != Run.id))
    .order_by(Dispatch.seq)
)
PUT = (
    select(Message)
    .where(Message.thread_id == bindparam("thread"), Message.direction == "incoming")
    .where(Message.id.not_in(QUEUE.with_only_columns(Message.id).order_by(None).correlate(None)))
    .order_by(Message.seq.desc())
    .limit(1)
)


def tip_of(session: Session, thread_id: str) -> str | None:
    """Where the thread goes on, as it is now: a thread that was loaded before its log was held may be older."""
    return session.connection().scalar(TIP, {"thread": thread_id})


def follow(session: Session, message: Message) -> str | None:
    """Note a new message as its thread's newest and, if it follows the tip, as the tip; return what is the tip now."""
    values = {"last": message.seq, "at": message.created_at, "message": message.id, "parent": message.parent_id}
    return session.connection().scalar(FOLLOW, {"thread": message.thread_id, **values})


def ancestors(session: Session, message: Message, limit: int) -> list[Message]:
    """Up to `limit` messages that lead to this one, the nearest first."""
    here = select(Message.id, Message.parent_id, literal(0).label("depth")).where(Message.id == message.id)
    line = here.cte("line", recursive=True)
    up = select(Message.id, Message.parent_id, line.c.depth + 1).join(line, Message.id == line.c.parent_id)
    line = line.union_all(up.where(line.c.depth < limit))
    query = select(Message).join(line, line.c.id == Message.id).where(line.c.depth > 0)
    return list(session.scalars(query.order_by(line.c.depth)))


def leaf(session: Session, message: Message) -> str:
    """The end of the newest branch that goes through this message."""
    top = select(Message.id, Message.parent_id, Message.seq).where(Message.id == message.id)
    below = top.cte("below", recursive=True)
    child = select(Message.id, Message.parent_id, Message.seq).where(Message.thread_id == message.thread_id)
    below = below.union_all(child.join(below, Message.parent_id == below.c.id))
    newest: dict[str, str] = {}  # child by parent; the last one stays
    for id, parent_id in session.execute(select(below.c.id, below.c.parent_id).order_by(below.c.seq)):
        newest[parent_id] = id
    found = message.id
    while found in newest:
        found = newest[found]
    return found


def questions_after(session: Session, thread_id: str, message_id: str) -> Sequence[Message]:
    """What the person has said after this message, without waiting for more."""
    query = select(Message).where(Message.thread_id == thread_id, Message.parent_id == message_id)
    return session.scalars(query.where(Message.direction == "incoming")).all()


def following(session: Session, message: Message) -> Sequence[Message]:
    """What follows this message at once, on whatever branch."""
    query = select(Message).where(Message.thread_id == message.thread_id, Message.parent_id == message.id)
    return session.scalars(query.order_by(Message.seq)).all()


def has_answer(session: Session, question: Message) -> bool:
    query = select(Message.id).where(Message.thread_id == question.thread_id, Message.parent_id == question.id)
    return session.scalar(query.where(Message.direction == "outgoing").limit(1)) is not None


def queue(session: Session, thread_id: str) -> list[tuple[Message, Run]]:
    """The questions that wait for the answers to others and were never put, with their runs, in their order."""
    return [(message, run) for message, run in session.execute(QUEUE, {"thread": thread_id})]


def newest_question(session: Session, thread_id: str) -> Message | None:
    """What the person said last, but for questions that are still to be put."""
    return session.scalar(PUT, {"thread": thread_id})
