"""Runs: an agent's attempts to answer. The run row alone decides that a run is answered once (DESIGN 4)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, insert, or_, select
from sqlalchemy.orm import Session

from chat import log
from chat.clock import database_time
from chat.errors import Conflict
from chat.ids import new_id, now_ms
from chat.models import Agent, Dispatch, LogEntry, Message, Run, Thread
from chat.native import run_json

OPEN = ("queued", "running", "waiting")
FAILED = ("error", "timeout", "lost", "stopped")


def start(session: Session, thread: Thread, message: Message | None, external_id: str | None = None) -> Run:
    """Open a run for a message and put the question to the agent into the outbox.

    With `external_id` the agent opened it itself: nothing is to be asked, but an answer is due all the same.
    """
    place = log.take(session, thread.participant_id)
    run = Run(id=new_id(), participant_id=thread.participant_id, thread_id=thread.id, agent_id=thread.agent_id)
    run.external_id = external_id or run.id
    run.message_id = message.id if message else None
    run.rev = place.seq
    session.add(run)
    session.flush()
    accepted_at = database_time() if external_id else None
    outbox = insert(Dispatch.table())
    session.execute(outbox.values(run_id=run.id, thread_id=thread.id, seq=place.seq, accepted_at=accepted_at))
    entry = LogEntry(kind="run", change="created", thread_id=thread.id, subject_id=run.id)
    log.append(session, thread.participant_id, place, entry, run_json(run))
    return run


def change(session: Session, run: Run, **values: Any) -> None:
    """Set columns of the run and tell its readers."""
    place = log.take(session, run.participant_id)
    for name, value in values.items():
        setattr(run, name, value)
    run.rev = place.seq
    entry = LogEntry(kind="run", change="updated", thread_id=run.thread_id, subject_id=run.id)
    log.append(session, run.participant_id, place, entry, run_json(run))


def end(session: Session, run: Run, status: str, error: str | None = None) -> None:
    """End the run and close its dispatch; the thread's next question may then go out."""
    change(session, run, status=status, error=error, ended_at=now_ms())
    close(session, run)


def close(session: Session, run: Run) -> None:
    """Take the run's question out of the outbox: nothing more is expected for it."""
    session.execute(delete(Dispatch).where(Dispatch.run_id == run.id))


def retry(session: Session, thread: Thread) -> Run:
    """Ask again what the thread's newest run failed to answer, by a new run. Raises Conflict if there is nothing."""
    run = newest(session, thread)
    message = session.get(Message, run.message_id) if run and run.message_id else None
    if run is None or message is None or run.status not in FAILED:
        raise Conflict("nothing_to_retry", "the newest answer of this thread has not failed")
    return start(session, thread, message)


def newest(session: Session, thread: Thread) -> Run | None:
    return session.scalar(select(Run).where(Run.thread_id == thread.id).order_by(Run.id.desc()).limit(1))


def find_or_start(session: Session, agent: Agent, thread: Thread, external_id: str, adopts: bool) -> Run:
    """Find the run that the agent means, or open one it began itself. Raises Conflict if it is another thread's.

    An agent that names its runs itself (LangGraph) answers our question under its own name: if it `adopts`, the oldest
    open run takes that name. Locked, so that of several answers at once one is first.
    """
    mine = select(Run).where(Run.agent_id == agent.id).with_for_update()
    run = session.scalar(mine.where(or_(Run.id == external_id, Run.external_id == external_id)))
    if run is None:
        nameless = mine.where(*waiting_for_a_name(thread)).order_by(Run.id).limit(1)
        run = session.scalar(nameless) if adopts else None
        if run is None:
            return start(session, thread, newest_question(session, thread), external_id)
        run.external_id = external_id
    if run.thread_id != thread.id:
        raise Conflict("other_thread", "this run belongs to another thread", "run_id")
    return run


def waiting_for_a_name(thread: Thread) -> tuple[Any, ...]:
    return Run.thread_id == thread.id, Run.external_id == Run.id, Run.status.in_(("queued", "running"))


def newest_question(session: Session, thread: Thread) -> Message | None:
    query = select(Message).where(Message.thread_id == thread.id, Message.direction == "incoming")
    return session.scalar(query.order_by(Message.seq.desc()).limit(1))
