"""The outbox: questions that committed with their messages and wait to be put to their agents.

A question is claimed by a lease with a token; who holds no valid token changes nothing, so a worker that stalls and
comes back cannot undo what another has done since. Times are the database's, since machines' clocks differ.
"""

from __future__ import annotations

import random
import secrets
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, exists, func, select
from sqlalchemy.orm import Session, aliased

from chat import log, messages, runs
from chat.clock import database_time
from chat.ids import now_ms
from chat.models import Agent, Dispatch, Message, Participant, Run
from chat.native import message_json

LEASE = 15.0  # seconds beyond the longest attempt
HISTORY = 20  # messages
HISTORY_BYTES = 128 * 1024  # of text


@dataclass(frozen=True)
class Question:
    """What an agent is asked, where, and under which lease."""

    run_id: str
    lease: str
    agent_id: str
    thread_id: str
    attempt: int
    url: str
    body: dict[str, Any]


def is_due(session: Session) -> bool:
    """Is there a question to put now?"""
    return session.scalar(due(select(Dispatch.run_id))) is not None


def waiting(session: Session) -> int:
    """How many questions no agent has accepted yet."""
    return session.scalar(select(func.count()).where(Dispatch.accepted_at.is_(None))) or 0


def claim(session: Session, attempt_seconds: float) -> Question | None:
    """Lease the next question that is due, for longer than an attempt may take; None if there is none."""
    dispatch = next_due(session)
    if dispatch is None:
        return None
    dispatch.lease = secrets.token_hex(8)
    dispatch.leased_until = now(session) + attempt_seconds + LEASE
    run = session.get_one(Run, dispatch.run_id)
    runs.change(session, run, status="running", attempts=run.attempts + 1, started_at=run.started_at or now_ms())
    return question(session, run, dispatch.lease)


def next_due(session: Session) -> Dispatch | None:
    """The next dispatch that is due, its log held. Logs that somebody holds are passed over, never waited for."""
    query = due(select(Dispatch.run_id).join(Run, Run.id == Dispatch.run_id).join(Participant))
    free = query.with_for_update(of=Participant, key_share=True, skip_locked=True)
    while run_id := session.scalar(free):
        # Looked at again: who held the log until just now may have claimed it.
        if dispatch := session.scalar(due(select(Dispatch).where(Dispatch.run_id == run_id))):
            return dispatch
    return None


def due(query: Select[Any]) -> Select[Any]:
    """Only the oldest dispatch of each thread may go out: an agent answers one question of a thread at a time."""
    older = aliased(Dispatch)
    blocked = exists().where(older.thread_id == Dispatch.thread_id, older.seq < Dispatch.seq)
    free = Dispatch.leased_until < database_time()
    query = query.where(Dispatch.accepted_at.is_(None), Dispatch.due_at <= database_time(), free, ~blocked)
    return query.order_by(Dispatch.due_at, Dispatch.seq).limit(1)


def question(session: Session, run: Run, lease: str) -> Question:
    message = session.get_one(Message, run.message_id)
    agent = session.get_one(Agent, run.agent_id)
    body = {
        "thread_id": run.thread_id,
        "run_id": run.id,
        "message": message_json(message),
        "history": history(session, message),
    }
    return Question(run.id, lease, agent.id, run.thread_id, run.attempts, agent.url, body)


def history(session: Session, message: Message) -> list[dict[str, Any]]:
    """What was said before, oldest first: the last HISTORY messages as far as they fit into HISTORY_BYTES."""
    kept: list[dict[str, Any]] = []
    room = HISTORY_BYTES
    for earlier in messages.earlier(session, message, HISTORY):
        room -= len(earlier.text.encode())
        if room < 0:
            break
        kept.insert(0, message_json(earlier))
    return kept


def accepted(session: Session, question: Question) -> None:
    """The agent has the question; its answer closes the row."""
    if dispatch := held(session, question):
        dispatch.accepted_at, dispatch.lease = now(session), None


def failed(session: Session, question: Question, error: str, waits: tuple[float, ...]) -> None:
    """The attempt failed: wait for the next one, or end the run where the person sees it."""
    dispatch = held(session, question)
    if dispatch is None:
        return
    run = session.get_one(Run, question.run_id)
    if run.attempts > len(waits):
        runs.end(session, run, "error", error)
        return
    wait = waits[run.attempts - 1] * random.uniform(0.8, 1.2)
    dispatch.lease, dispatch.leased_until, dispatch.due_at = None, 0.0, now(session) + wait
    runs.change(session, run, status="queued", error=error)


def held(session: Session, question: Question) -> Dispatch | None:
    """The question's row, if our lease on it still holds; an answer may have closed it, another worker claimed it."""
    log.hold(session, *session.scalars(select(Run.participant_id).where(Run.id == question.run_id)))
    return session.scalar(select(Dispatch).where(Dispatch.run_id == question.run_id, Dispatch.lease == question.lease))


def is_silent(session: Session, seconds: float) -> bool:
    """Is there an accepted run without an answer for `seconds`?"""
    return session.scalar(select(Dispatch.run_id).where(*silent_for(seconds)).limit(1)) is not None


def end_silent(session: Session, seconds: float) -> int:
    """End accepted runs whose agents have not answered for `seconds`; return how many."""
    late = select(Run).join(Dispatch, Dispatch.run_id == Run.id).where(*silent_for(seconds))
    log.hold(session, *session.scalars(late.with_only_columns(Run.participant_id)))
    silent = session.scalars(late).all()
    for run in silent:
        runs.end(session, run, "timeout", f"No answer within {seconds:.0f} seconds.")
    return len(silent)


def silent_for(seconds: float) -> tuple[Any, ...]:
    return (Dispatch.accepted_at < database_time() - seconds,)


def now(session: Session) -> float:
    return session.execute(select(database_time())).scalar_one()
