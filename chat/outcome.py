"""What became of a question: for programs that ask and wait, instead of reading along."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from chat import runs
from chat.models import Message, Run
from chat.native import message_json, run_json


def run_of(session: Session, message_id: str) -> str | None:
    """The newest run that is to answer this message."""
    return session.scalar(select(Run.id).where(Run.message_id == message_id).order_by(Run.id.desc()).limit(1))


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
