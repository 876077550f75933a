"""Runs: an agent's attempts to answer. The run row alone decides that a run is answered once (DESIGN 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, and_, bindparam, case, delete, exists, insert, or_, select, update
from sqlalchemy.orm import Session

from chat import branches, limits, log
from chat.clock import database_time
from chat.errors import Conflict
from chat.ids import new_id, now_ms
from chat.models import Agent, Dispatch, LogEntry, Message, Run, Thread
from chat.native import run_json
from chat.usual import clock_for

OPEN = ("queued", "running", "waiting")
WRITABLE = ("queued", "running")
FAILED = ("error", "timeout", "lost", "stopped")
AT_ONCE = 20

# The statements of every answer are built once: building costs more than running does (measured).
MINE = (
    select(Run)
    .where(Run.agent_id == bindparam("agent"), or_(Run.id == bindparam("name"), Run.external_id == bindparam("name")))
    .with_for_update()
)
FOLLOWING = select(Run).where(
    Run.thread_id == bindparam("thread"),
    Run.status != "success",
    Run.after_id.is_not_distinct_from(bindparam("message")),
)
WAITING_BEFORE = select(Run).where(
    Run.thread_id == bindparam("thread"), Run.status == "waiting", Run.id < bindparam("run")
)
EXPECT = insert(Dispatch.table()).values(
    run_id=bindparam("run"),
    thread_id=bindparam("thread"),
    seq=bindparam("place"),
    accepted_at=case((bindparam("has_begun"), database_time())),
)
CLOSE = delete(Dispatch.table()).where(Dispatch.run_id == bindparam("run"))


def start(
    session: Session,
    thread: Thread,
    message: Message | None,
    external_id: str | None = None,
    after_id: str | None = None,
    status: str = "queued",
) -> Run:
    """Open a run for a message and put the question to the agent into the outbox.

    With `external_id` the agent opened it itself: nothing is to be asked, but an answer is due all the same.
    Raises TooMany.
    """
    if external_id is None:
        limits.admit(session, thread)
    place = log.take(session, thread.participant_id)
    run = Run(id=new_id(), participant_id=thread.participant_id, thread_id=thread.id, agent_id=thread.agent_id)
    run.external_id = external_id or run.id
    run.message_id = message.id if message else None
    # What an agent begins by itself goes on where the thread is; an answer follows its question, or what is given.
    run.after_id = branches.tip_of(session, thread.id) if external_id else after_id or run.message_id
    assign(run, rev=place.seq, status=status, started_at=now_ms() if status == "running" else None)
    session.add(run)
    session.flush()
    expected = {"run": run.id, "thread": thread.id, "place": place.seq, "has_begun": external_id is not None}
    session.connection().execute(EXPECT, expected)
    entry = LogEntry(kind="run", change="created", thread_id=thread.id, subject_id=run.id)
    log.append(session, thread.participant_id, place, entry, run_json(run))
    return run


def change(session: Session, run: Run, **values: Any) -> None:
    """Set columns of the run and tell its readers."""
    place = log.take(session, run.participant_id)
    assign(run, rev=place.seq, **values)
    entry = LogEntry(kind="run", change="updated", thread_id=run.thread_id, subject_id=run.id)
    log.append(session, run.participant_id, place, entry, run_json(run))


def assign(run: Run, **values: Any) -> None:
    values |= clock_for(values["status"]) if "status" in values else {}
    for name, value in values.items():
        setattr(run, name, value)


def end(session: Session, run: Run, status: str, error: str | None = None) -> None:
    """End the run and close its dispatch; the thread's next question may then go out.

    Those before it that waited for the person have been given what they waited for.
    """
    change(session, run, status=status, error=error, ended_at=now_ms())
    close(session, run)
    with session.no_autoflush:  # it asks for others: this run is written at the commit
        earlier = session.scalars(WAITING_BEFORE, {"thread": run.thread_id, "run": run.id}).all()
    for other in earlier:
        if other.status == "waiting":
            change(session, other, status="success", ended_at=now_ms())


def close(session: Session, run: Run) -> None:
    """Take the run's question out of the outbox: nothing more is expected for it."""
    session.connection().execute(CLOSE, {"run": run.id})


def is_open(session: Session, run_id: str) -> bool:
    return session.scalar(select(Run.id).where(Run.id == run_id, Run.status.in_(OPEN))) is not None


def held(session: Session, query: Select[Any]) -> Sequence[Run]:
    """Some of the runs that are found, their logs held; less than a transaction has time for."""
    ids = session.scalars(query.with_only_columns(Run.id).order_by(Run.id).limit(AT_ONCE)).all()
    log.hold(session, *session.scalars(select(Run.participant_id).where(Run.id.in_(ids))))
    # Asked again: while the logs were waited for they may have been answered, and others been found.
    return session.scalars(query.where(Run.id.in_(ids)).order_by(Run.id)).all()


def rename(session: Session, run_id: str, name: str) -> None:
    """Keep the agent's own name for a run: by it the agent's webhook is known, and the run is cancelled there."""
    run = Run.table()
    session.execute(update(run).where(run.c.id == run_id).values(external_id=name))


def newer(session: Session, run: Run) -> bool:
    """Has the same question been asked again?"""
    query = select(Run.id).where(Run.thread_id == run.thread_id, Run.message_id == run.message_id, Run.id > run.id)
    return session.scalar(query.limit(1)) is not None


def newest(session: Session, thread: Thread) -> Run | None:
    return session.scalar(select(Run).where(Run.thread_id == thread.id).order_by(Run.id.desc()).limit(1))


def current(session: Session, thread: Thread) -> Run | None:
    """The run that the thread waits for: the oldest that has begun, else the oldest that is to begin."""
    query = select(Run).where(Run.thread_id == thread.id, Run.status.in_(WRITABLE))
    return session.scalar(query.order_by(Run.started_at.is_(None), Run.id).limit(1))


def following(session: Session, thread_id: str, message_id: str | None) -> Sequence[Run]:
    """The runs whose answers are to follow this message, also those whose answers may only come too late."""
    return session.scalars(FOLLOWING, {"thread": thread_id, "message": message_id}).all()


def find_or_start(
    session: Session, agent: Agent, thread: Thread, external_id: str, adopts: bool = False, status: str = "queued"
) -> Run:
    """Find the run that the agent means, or open one it began itself, with this status. Raises Conflict if it is
    another thread's.

    An agent that names its runs itself (LangGraph) answers our question under its own name: if it `adopts`, the oldest
    open run takes that name. Locked, so that of several answers at once one is first.
    """
    run = session.scalar(MINE, {"agent": agent.id, "name": external_id})
    if run is None:
        run = session.scalar(nameless(agent, thread)) if adopts else None
        if run is None:
            return start(session, thread, branches.newest_question(session, thread.id), external_id, status=status)
        run.external_id = external_id
    if run.thread_id != thread.id:
        raise Conflict("other_thread", "this run belongs to another thread", "run_id")
    return run


def nameless(agent: Agent, thread: Thread) -> Select[Any]:
    """What the agent may mean. One that has been stopped keeps its place as long as its agent is to be told so."""
    stopped = and_(Run.status == "stopped", exists().where(Dispatch.run_id == Run.id))
    mine = select(Run).where(Run.agent_id == agent.id, Run.thread_id == thread.id, Run.external_id == Run.id)
    open_ = mine.where(or_(Run.status.in_(WRITABLE), stopped))
    return open_.order_by(Run.id).limit(1).with_for_update()
