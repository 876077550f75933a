"""Mutants of the way to the broker and from it."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from tests.mutations import mutant, replace


@mutant
def no_poll_fallback() -> None:
    """R1: the tick does not look at the heads, so what no ring told of stays unknown."""
    from realtime.hub import Hub

    replace(Hub, "_check_heads", lambda self: None)


@mutant
def slow_tick() -> None:
    """Not a mutant but a tweak: without the tick's help, what heals at once can be told from what it heals."""
    from realtime import hub

    replace(hub, "TICK", 60.0)


@mutant
def ignore_confirmations() -> None:
    """R2: a new subscription is taken for one that never broke."""
    from realtime.listener import Listener

    replace(Listener, "_missed", lambda self: None)


@mutant
def no_probe() -> None:
    """R4: a silent connection is taken for a quiet one."""
    from realtime.ear import Ear

    def next_push(self: Any) -> Any:
        return self._connection.read_response(timeout=None, disconnect_on_error=False)

    replace(Ear, "_next", next_push)


def publish_in_line(**patience: Any) -> None:
    """Whoever says something waits until the broker has taken the hint, with that much patience."""
    from redis import Redis
    from redis.exceptions import RedisError

    from realtime.publisher import Publisher

    redis = Redis.from_url(os.environ["REDIS_URL"], **patience)

    def say(self: Any, channel: str, said: bytes) -> None:
        with suppress(RedisError, OSError):
            redis.publish(channel, said)

    replace(Publisher, "say", say)


@mutant
def publish_in_the_request() -> None:
    """R5: the hint is published before the answer goes out."""
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    publish_in_line(socket_timeout=1.0, retry=Retry(NoBackoff(), 0))


@mutant
def default_redis_timeouts() -> None:
    """R3: the same, with the patience that redis-py has by itself: 5 s, ten times."""
    publish_in_line()


@mutant
def seq_in_redis() -> None:
    """R8: the broker, not the store, knows how far a log is."""
    from redis import Redis
    from sqlalchemy import select, update

    from chat import log
    from chat.models import Participant
    from realtime.cursor import Cursor

    redis = Redis.from_url(os.environ["REDIS_URL"])
    known: set[str] = set()

    def take(session: Any, participant_id: str) -> Cursor:
        mine = Participant.id == participant_id
        epoch, head = session.execute(select(Participant.epoch, Participant.head).where(mine)).one()
        if participant_id not in known:
            redis.set(f"head:{participant_id}", head, nx=True)
            known.add(participant_id)
        seq = int(redis.incr(f"head:{participant_id}"))
        session.execute(update(Participant).where(mine).values(head=seq))
        return Cursor(epoch, seq)

    replace(log, "take", take)


@mutant
def pinned_address() -> None:
    """R7: the sentinels are asked once."""
    from realtime.sentinels import Sentinels

    def find(self: Any) -> Any:
        if not hasattr(self, "pinned"):
            self.pinned = before(self)
        return self.pinned

    before = replace(Sentinels, "_find", find)
