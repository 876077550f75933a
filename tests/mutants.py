"""Mutants: builds of the server that break one promise each, so that the row that holds it must fail.

A server started with MUTANT=name runs by tests/mutant.conf.py, which applies the patch in every worker before the
application is loaded. The product knows nothing of it. A comma joins several; TWEAKS are those that a row itself wants.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Any

MUTANTS: dict[str, Callable[[], None]] = {}


def mutant(patch: Callable[[], None]) -> Callable[[], None]:
    MUTANTS[patch.__name__] = patch
    return patch


def wanted(environ: dict[str, str] | os._Environ[str] = os.environ) -> list[str]:
    """The names asked for, in the order to apply."""
    return [name for kind in ("TWEAKS", "MUTANT") for name in environ.get(kind, "").split(",") if name]


def replace(owner: Any, name: str, value: Any) -> Any:
    """Put `value` in the place of what must be there, and return that: a mutant that changes nothing proves nothing."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    return before


# The broker


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


# The workers


@mutant
def ack_before_commit() -> None:
    """R13: a webhook is answered first, and what the answer speaks of is committed a moment later."""
    import gevent
    from flask import has_request_context, request

    from chat.store import Store

    class DryRun(Exception):
        """Carries the result out of a transaction that is not to be."""

    before = Store.write

    def write(self: Any, work: Callable[[Any], Any]) -> Any:
        if not (has_request_context() and request.path.startswith("/webhook")):
            return before(self, work)

        def rehearse(session: Any) -> None:
            raise DryRun(work(session))

        try:
            before(self, rehearse)
        except DryRun as done:
            gevent.spawn_later(0.2, before, self, work)
            return done.args[0]

    replace(Store, "write", write)


@mutant
def no_drain() -> None:
    """R14: a worker that leaves cuts its streams."""
    from realtime.hub import Hub

    replace(Hub, "drain", lambda self, *_: None)


# The readers


@mutant
def no_watcher() -> None:
    """R19: a client that closes is noticed when something is written to it."""
    from realtime import peer

    replace(peer, "watched", lambda sock, on_gone: nullcontext())


@mutant
def subscribe_after_replay() -> None:
    """R23: a stream reads what it missed, and only then begins to listen."""
    import gevent

    from realtime.stream import Stream

    before = Stream._join

    def join(self: Any) -> Any:
        yield from before(self)
        while self.pos < self.tail.last:
            yield from self._replay()
        gevent.sleep(0.05)  # the reply to a SUBSCRIBE takes its time
        self.cursor = self.tail.cursor

    replace(Stream, "_join", join)
