"""Silence: whoever waits for an answer is told when it takes longer than is usual for its agent.

A run's `late_at` is when to look at it next or, once it is late, since when it has been. A word is whatever its agent
says of the answer. How long there was none is counted from when the run began, for that is what its person sees; so
the clocks of several machines are taken to agree here, and nothing but a notice depends on it.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Select, and_, or_, select
from sqlalchemy.orm import Session

from chat import log, runs
from chat.accounts import Viewer
from chat.clock import database_time
from chat.errors import NotFound
from chat.models import Dispatch, DraftRow, Run
from chat.native import run_json
from chat.store import Store
from chat.usual import OVER, Usual, usual_of

FRESH = 60.0  # seconds that a worker goes by what it found to be usual
AT_ONCE = 100  # runs


class Silence:
    """Looks for runs that are silent, as often as `sweep` is called. One a worker."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._usual: dict[str, tuple[float, Usual]] = {}  # by agent: until when it holds, and what

    def sweep(self) -> None:
        """Say of runs that they are late, and of those that have spoken that they are no more. Raises StoreAway."""
        due = self._store.peek(lambda s: s.execute(to_look_at(Run.id, Run.agent_id)).all())
        if due:
            usual = {agent_id: self._usual_of(agent_id) for _, agent_id in due}
            self._store.write(lambda s: look(s, [run_id for run_id, _ in due], usual))

    def _usual_of(self, agent_id: str) -> Usual:
        until, usual = self._usual.get(agent_id, (0.0, None))
        if usual is None or until < time.monotonic():
            usual = self._store.read(lambda s: usual_of(s, agent_id))
            self._usual[agent_id] = time.monotonic() + FRESH, usual
        return usual


def to_look_at(*columns: Any) -> Select[Any]:
    """Of the runs whose agents have the question: those whose time has come, those that were late and have spoken."""
    due = and_(Run.late_after_ms.is_(None), Run.late_at <= database_time())
    back = and_(Run.late_after_ms.is_not(None), DraftRow.said_at > Run.late_at)
    query = select(*columns).select_from(Run).outerjoin(DraftRow, DraftRow.run_id == Run.id)
    asked = Run.id.in_(select(Dispatch.run_id))  # not by a join: SQLite would begin with all runs that ever were
    return query.where(asked, Run.status == "running", or_(due, back)).limit(AT_ONCE)


def look(session: Session, run_ids: Collection[str], usual: Mapping[str, Usual]) -> None:
    """Compare these runs with what is usual for their agents."""
    log.hold(session, *session.scalars(select(Run.participant_id).where(Run.id.in_(run_ids))))
    now = session.execute(select(database_time())).scalar_one()
    # Asked again: another worker may have been here meanwhile.
    for run, said_at in session.execute(to_look_at(Run, DraftRow.said_at).where(Run.id.in_(run_ids))).all():
        note(session, run, now, max((run.started_at or 0) / 1000, said_at or 0.0), usual[run.agent_id])


def note(session: Session, run: Run, now: float, heard_at: float, usual: Usual) -> None:
    silent = now - heard_at
    if silent >= usual.late:
        median = None if usual.median is None else round(usual.median * 1000)
        runs.change(session, run, late_at=now, late_after_ms=round(silent * 1000), usual_ms=median)
    elif run.late_after_ms is not None:
        runs.change(session, run, **OVER | {"late_at": heard_at + usual.late})
    else:
        run.late_at = heard_at + usual.late


def wait(session: Session, viewer: Viewer, run_id: str) -> dict[str, Any]:
    """Go on waiting for a run of the viewer's: a word on its silence comes after twice as long. Raises NotFound."""
    log.hold(session, viewer.participant_id)
    run = None if "\x00" in run_id else session.get(Run, run_id)
    if run is None or run.participant_id != viewer.participant_id:
        raise NotFound("unknown_run", "there is no such run, or it is not yours")
    if run.late_after_ms is not None:
        runs.change(session, run, **OVER | {"late_at": database_time() + 2 * run.late_after_ms / 1000})
    return run_json(run)
