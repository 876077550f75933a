"""The outbox: questions that committed with their messages and wait to be put to their agents.

A question is claimed by a lease with a token; who holds no valid token changes nothing, so a worker that stalls and
comes back cannot undo what another has done since. Times are the database's, since machines' clocks differ.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import Select, exists, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from chat import branches, drafts, log, runs
from chat.clock import database_time
from chat.ids import now_ms
from chat.models import Agent, Dispatch, DraftRow, Message, Participant, Run
from chat.native import message_json

LEASE = 15.0  # seconds beyond the longest attempt
CANCEL = 60_000  # ms for which an agent that does not listen is told that its answer is not wanted
HISTORY = 20  # messages
HISTORY_BYTES = 128 * 1024


@dataclass(frozen=True)
class Question:
    """What an agent is asked or told, where, and under which lease."""

    kind: str  # ask or cancel
    run_id: str
    lease: str
    agent_id: str
    agent_kind: str
    thread_id: str
    attempt: int
    url: str
    body: dict[str, Any]


def is_due(session: Session, may_answer: bool = True) -> bool:
    """Is there a question to put now? Without `may_answer`, one that no worker has to answer itself."""
    return session.scalar(all_due(may_answer)) is not None


def waiting(session: Session) -> int:
    """How many questions no agent has accepted yet."""
    return session.scalar(select(func.count()).where(Dispatch.kind == "ask", Dispatch.accepted_at.is_(None))) or 0


def claim(session: Session, attempt_seconds: float, may_answer: bool = True) -> Question | None:
    """Lease the next question that is due, for longer than an attempt may take; None if there is none.

    One that a worker answers itself may take any time, and is leased anew as long as no word has come (`renew`).
    """
    dispatch = next_due(session, may_answer)
    if dispatch is None:
        return None
    run = session.get_one(Run, dispatch.run_id)
    dispatch.lease = secrets.token_hex(8)
    is_put = session.get_one(Agent, run.agent_id).kind == "webhook"
    dispatch.leased_until = now(session) + LEASE + (attempt_seconds if is_put else 0)
    if dispatch.kind == "ask":
        runs.change(session, run, status="running", attempts=run.attempts + 1, started_at=run.started_at or now_ms())
    return question(session, run, dispatch)


def next_due(session: Session, may_answer: bool) -> Dispatch | None:
    """The next dispatch that is due, its log held. Logs that somebody holds are passed over, never waited for."""
    while run_id := session.scalar(all_free(may_answer)):
        # Looked at again: who held the log until just now may have claimed it.
        dispatch = session.scalar(due(select(Dispatch).where(Dispatch.run_id == run_id)))
        if dispatch and not accepted_by_words(session, dispatch):
            return dispatch
    return None


def accepted_by_words(session: Session, dispatch: Dispatch) -> bool:
    """Has its agent begun to answer? Then it has the question, whatever became of our call, and is asked no more."""
    if dispatch.kind != "ask" or not drafts.has_begun(session, dispatch.run_id):
        return False
    dispatch.accepted_at, dispatch.lease = now(session), None
    session.flush()
    return True


@cache  # both are asked for again and again, and built for longer than run
def all_due(may_answer: bool) -> Select[Any]:
    return due(select(Dispatch.run_id), may_answer)


@cache
def all_free(may_answer: bool) -> Select[Any]:
    query = due(select(Dispatch.run_id).join(Run, Run.id == Dispatch.run_id).join(Participant), may_answer)
    return query.with_for_update(of=Participant, key_share=True, skip_locked=True)


def due(query: Select[Any], may_answer: bool = True) -> Select[Any]:
    """Only the oldest question of each thread may go out: an agent answers one question of a thread at a time."""
    older = aliased(Dispatch)
    blocked = exists().where(
        older.thread_id == Dispatch.thread_id, older.seq < Dispatch.seq, older.kind == "ask", Dispatch.kind == "ask"
    )
    free = Dispatch.leased_until < database_time()
    if not may_answer:
        theirs = exists().where(Run.id == Dispatch.run_id, Agent.id == Run.agent_id, Agent.kind == "webhook")
        query = query.where(or_(Dispatch.kind != "ask", theirs.correlate(Dispatch)))
    query = query.where(Dispatch.accepted_at.is_(None), Dispatch.due_at <= database_time(), free, ~blocked)
    return query.order_by(Dispatch.due_at, Dispatch.seq).limit(1)


def question(session: Session, run: Run, dispatch: Dispatch) -> Question:
    agent = session.get_one(Agent, run.agent_id)
    body: dict[str, Any] = {"thread_id": run.thread_id, "run_id": run.id}
    if dispatch.kind == "ask":
        message = session.get_one(Message, run.message_id)
        told = history(session, message) if agent.kind == "webhook" else []  # the others are told as many as they want
        body |= {"message": told_json(message), "history": told}
    else:
        body |= {"type": dispatch.kind}
    about = (agent.id, agent.kind, run.thread_id, run.attempts, agent.url)
    return Question(dispatch.kind, run.id, str(dispatch.lease), *about, body)


def history(session: Session, message: Message, limit: int = HISTORY) -> list[dict[str, Any]]:
    """What was said before, oldest first: the last messages as far as they fit into HISTORY_BYTES."""
    kept: list[dict[str, Any]] = []
    room = HISTORY_BYTES
    for earlier in branches.ancestors(session, message, limit):
        told = told_json(earlier)
        room -= len(msgspec.json.encode(told))
        if room < 0:
            break
        kept.insert(0, told)
    return kept


def told_json(message: Message) -> dict[str, Any]:
    """What was said, without what stood beside it and what was thought of it."""
    return {name: value for name, value in message_json(message).items() if name not in ("parts", "feedback")}


def accepted(session: Session, question: Question) -> None:
    """The agent has the question; its answer closes the row. What was only to be told is told."""
    dispatch = held(session, question)
    if dispatch is not None and question.kind != "ask":
        session.delete(dispatch)
    elif dispatch is not None:
        dispatch.accepted_at, dispatch.lease = now(session), None


def failed(session: Session, question: Question, error: str, waits: tuple[float, ...]) -> None:
    """The attempt failed: wait for the next one, or end the run where the person sees it.

    One whose agent has begun to answer all the same has not failed.
    """
    dispatch = held(session, question)
    if dispatch is None or accepted_by_words(session, dispatch):
        return
    run = session.get_one(Run, question.run_id)
    if question.kind != "ask":
        put_off(session, dispatch, 1.0) if now_ms() - (run.ended_at or 0) < CANCEL else session.delete(dispatch)
        return
    if run.attempts > len(waits):
        drafts.end(session, run, "error", error)
        return
    put_off(session, dispatch, waits[run.attempts - 1] * random.uniform(0.8, 1.2))
    runs.change(session, run, status="queued", error=error)


def let_go(session: Session, question: Question) -> None:
    """Whoever was to put the question stops before anything came of it: let another put it now."""
    if dispatch := held(session, question):
        put_off(session, dispatch, 0.0)
        run = session.get_one(Run, question.run_id)
        runs.change(session, run, status="queued", attempts=run.attempts - 1)


def renew(session: Session, questions: Iterable[Question]) -> None:
    """Keep these questions for a while longer, as far as they are still ours."""
    leases = [question.lease for question in questions]
    row = Dispatch.table()
    session.execute(update(row).where(row.c.lease.in_(leases)).values(leased_until=database_time() + LEASE))


def put_off(session: Session, dispatch: Dispatch, seconds: float) -> None:
    dispatch.lease, dispatch.leased_until, dispatch.due_at = None, 0.0, now(session) + seconds


def held(session: Session, question: Question) -> Dispatch | None:
    """The question's row, if our lease on it still holds; an answer may have closed it, another worker claimed it."""
    log.hold(session, *session.scalars(select(Run.participant_id).where(Run.id == question.run_id)))
    return session.scalar(select(Dispatch).where(Dispatch.run_id == question.run_id, Dispatch.lease == question.lease))


def is_silent(session: Session, seconds: float) -> bool:
    """Is there an accepted run without an answer for `seconds`?"""
    return session.scalar(select(Dispatch.run_id).where(*silent_for(seconds)).limit(1)) is not None


def end_silent(session: Session, seconds: float) -> int:
    """End some accepted runs whose agents have not answered for `seconds`; return how many."""
    silent = runs.held(session, select(Run).join(Dispatch, Dispatch.run_id == Run.id).where(*silent_for(seconds)))
    for run in silent:
        drafts.end(session, run, "timeout", f"No answer within {seconds:.0f} seconds.")
    return len(silent)


def silent_for(seconds: float) -> tuple[Any, ...]:
    """Neither answered nor written a word since."""
    before = database_time() - seconds
    writing = exists().where(DraftRow.run_id == Dispatch.run_id, DraftRow.said_at >= before)
    return Dispatch.accepted_at < before, ~writing


def now(session: Session) -> float:
    return session.execute(select(database_time())).scalar_one()
