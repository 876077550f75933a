"""Limits: how many answers a person may ask for in a minute, and what those of a tenant may cost in a day.

Both are counted in the store, so a broker's outage changes nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from chat.errors import ChatError
from chat.events import Usage as Cost
from chat.ids import now_ms
from chat.models import Participant, Run, Thread, Usage
from chat.store import Work, put
from chat.transaction import T

MINUTE = 60_000  # ms
DAY = 86_400_000  # ms
MOST = 10**12  # tokens that an answer may claim to have cost


class TooMany(ChatError):
    """There was enough of it for now; in `retry_after` seconds there may be more."""

    status = 429

    def __init__(self, code: str, message: str, until_ms: int, now: int) -> None:
        super().__init__(code, message)
        self.retry_after = max(1, math.ceil((until_ms - now) / 1000))


@dataclass(frozen=True)
class Limits:
    """0: no limit. Answers are of one person, tokens of a tenant and a day in UTC."""

    answers_per_minute: int = 0
    tokens_per_day: int = 0

    def on(self, work: Work[T]) -> Work[T]:
        """The same work, but no more is asked in it than may be: it raises TooMany, and nothing of it is stored."""

        def limited(session: Session) -> T:
            session.info["limits"] = self
            return work(session)

        return limited


def admit(session: Session, thread: Thread) -> None:
    """Let an answer be asked for in this thread now, and count it. Raises TooMany. Its log is held."""
    limits, now = session.info.get("limits", Limits()), now_ms()
    if limits.answers_per_minute:
        count_answer(session, thread, limits.answers_per_minute, now)
    if limits.tokens_per_day:
        check_tokens(session, thread, limits.tokens_per_day, now)


def count_answer(session: Session, thread: Thread, most: int, now: int) -> None:
    # Counted apart from the runs: those go with their thread, and whoever deleted it could ask for ever.
    row = Participant.table()
    me = row.c.id == thread.participant_id
    times = [at for at in session.scalar(select(row.c.asked_at).where(me)) or () if at > now - MINUTE]
    if len(times) >= most:
        message = f"you may ask for {most} answers a minute; wait a little, then ask again"
        raise TooMany("too_many_answers", message, times[-most] + MINUTE, now)
    session.execute(update(row).where(me).values(asked_at=[*times, now]))


def check_tokens(session: Session, thread: Thread, most: int, now: int) -> None:
    day = now // DAY
    mine = select(Usage.tokens).where(Usage.tenant_id == thread.tenant_id, Usage.day == day)
    if (session.scalar(mine) or 0) >= most:
        message = f"your organisation has used its {most:,} tokens of today; there are new ones at midnight, UTC"
        raise TooMany("too_many_tokens", message, (day + 1) * DAY, now)


def spend(session: Session, thread: Thread, run: Run, cost: Cost | None) -> None:
    """Note what an answer cost, if that is known; what is told again takes the place of what was told before."""
    tokens = total(cost) if cost else None
    if tokens is None:
        return
    more, run.tokens = tokens - (run.tokens or 0), tokens
    day, row = now_ms() // DAY, Usage.table()
    mine = update(row).where(row.c.tenant_id == thread.tenant_id, row.c.day == day)
    # Of two who are the day's first at the same time one meets the primary key; its transaction runs again.
    if session.connection().execute(mine.values(tokens=row.c.tokens + more)).rowcount == 0:
        put(session, Usage(tenant_id=thread.tenant_id, day=day, tokens=max(0, more)))


def total(cost: Cost) -> int | None:
    parts = [part for part in (cost.input_tokens, cost.output_tokens) if part is not None]
    tokens = sum(parts) if cost.total_tokens is None and parts else cost.total_tokens
    return None if tokens is None else min(max(tokens, 0), MOST)
