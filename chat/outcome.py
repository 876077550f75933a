"""What became of a question: for programs that ask and wait, instead of reading along."""

from __future__ import annotations

from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from chat import runs
from chat.models import Message, Run
from chat.native import message_json, run_json


def run_of(session: Session, message_id: str) -> str | None:
    """The newest run that was put to its agent to answer this message; what an agent begins by itself answers none."""
    asked = select(Run.id).where(Run.message_id == message_id, or_(Run.attempts > 0, Run.external_id == Run.id))
    return session.scalar(asked.order_by(Run.id.desc()).limit(1))


def outcome(session: Session, run_id: str) -> dict[str, Any] | None:
    """A run and its answer, which is None until it has ended or asks its person; None if it has been deleted."""
    run = session.get(Run, run_id)
    if run is None:
        return None
    answer = answer_to(session, run) if run.status not in runs.WRITABLE else None
    return {"answer": answer and message_json(answer), "run": run_json(run)}


def answer_to(session: Session, run: Run) -> Message | None:
    if run.status != "waiting":
        return session.get(Message, run.answer_id) if run.answer_id else None
    said = select(Message).where(Message.thread_id == run.thread_id, Message.run_id == run.id)
    return session.scalar(said.order_by(Message.seq.desc()).limit(1))
