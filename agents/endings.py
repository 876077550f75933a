"""What became of runs: each that ended is counted, and logged if a person got no answer."""

from __future__ import annotations

import logging

import msgspec

from chat.runs import FAILED
from realtime import metrics
from realtime.event import Event

logger = logging.getLogger(__name__)

ENDED = ("success", *FAILED)


class Run(msgspec.Struct):
    """Of a run event what is told here. Not its error, which is the agent's own words."""

    id: str = ""
    thread_id: str = ""
    agent_id: str = ""
    status: str = ""


def note(event: Event) -> str | None:
    """Look at a run event that has been committed; return the id of a run that ended, answered or not."""
    run = msgspec.json.decode(event.data, type=Run)
    if run.status not in ENDED:
        return None
    metrics.RUNS_ENDED.labels(run.status).inc()
    if run.status in FAILED:
        facts = {"run": run.id, "thread": run.thread_id, "agent": run.agent_id}
        said = "run %s of thread %s ended without an answer (%s)"
        logger.warning(said, run.id, run.thread_id, run.status, extra={"facts": facts})
    return run.id
