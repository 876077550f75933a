"""What is usual for an agent: how long its answers take, and so how long its silence is none worth a word."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from chat.clock import database_time
from chat.models import Message, Run

LEAST = 5.0  # seconds that nobody calls a silence
UNKNOWN = 30.0  # seconds that are worth a word if nobody knows what is usual
ENOUGH = 5  # answers that tell what is usual
ANSWERS = 100  # the newest of an agent that are looked at
RUNS = 2_000  # the newest of all among which those are looked for, so that it never takes long

OVER = {"late_at": None, "late_after_ms": None, "usual_ms": None}


class Usual(NamedTuple):
    """How long an agent's answers take, in seconds: the median, if it is known, and from when on one is late."""

    median: float | None
    late: float


def clock_for(status: str) -> dict[str, Any]:
    """What the change to this status does to a run's clock, which runs only while its agent has the question.

    The first look at it comes soon and needs no history: only who is slower than that is compared with the usual.
    """
    return {"late_at": database_time() + LEAST} if status == "running" else OVER


def usual_of(session: Session, agent_id: str) -> Usual:
    """How long the agent's newest answers took.

    One that asked a person in between says nothing of that, nor does what the agent began by itself.
    """
    row = select(Run.table()).order_by(Run.id.desc()).limit(RUNS).subquery().c
    asked = exists().where(Message.thread_id == row.thread_id, Message.run_id == row.id, Message.kind == "notice")
    mine = (row.agent_id == agent_id, row.status == "success", row.attempts > 0, row.started_at.is_not(None))
    took = select(row.ended_at - row.started_at).where(*mine, ~asked)
    times = session.scalars(took.order_by(row.id.desc()).limit(ANSWERS))
    seconds = sorted(ms / 1000 for ms in times)
    if len(seconds) < ENOUGH:
        return Usual(None, UNKNOWN)
    return Usual(seconds[len(seconds) // 2], max(LEAST, seconds[len(seconds) * 95 // 100]))
