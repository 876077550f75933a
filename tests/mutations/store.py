"""Mutants of what is stored: acknowledgements, order, keys, the database's connections."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tests.mutations import mutant, replace


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
def no_pool_pre_ping() -> None:
    """R9: a connection from the pool is taken for a good one."""
    from chat import postgres

    before = postgres.create_engine
    replace(postgres, "create_engine", lambda url, **how: before(url, **{**how, "pool_pre_ping": False}))


@mutant
def no_deadline() -> None:
    """R10: a transaction waits for its database for as long as that takes."""
    from chat import postgres

    replace(postgres, "bounded", lambda engine, work, deadline: postgres.run(engine, work))


@mutant
def session_held_over_a_yield() -> None:
    """R10: a stream keeps the connection with which it looked for its log, as long as there are any."""
    from contextlib import contextmanager

    from chat.postgres import Postgres
    from realtime.hub import Hub

    pools: list[Any] = []
    make = Postgres.__init__

    def init(self: Any, *how: Any) -> None:
        make(self, *how)
        pools.append(self)

    @contextmanager
    def watch(self: Any, log: str, stream: Any) -> Any:
        with before(self, log, stream) as tail:
            if not pools[0]._free.acquire(blocking=False):
                yield tail
                return
            try:
                with pools[0]._engine.connect():
                    yield tail
            finally:
                pools[0]._free.release()

    replace(Postgres, "__init__", init)
    before = replace(Hub, "watch", watch)


@mutant
def write_in_the_loop() -> None:
    """R11: transactions run in the loop, with the patience that SQLite's driver has by itself: 5 s."""
    import time

    from chat.sqlite import Lane

    def run(self: Any, work: Callable[[Any], Any], deadline: float) -> Any:
        result, error = self._attempt(work, time.monotonic() + 5)
        if error is not None:
            raise error
        return result

    replace(Lane, "run", run)


@mutant
def newest_is_the_cursor() -> None:
    """R22: places are given out without waiting for who has the one before, and a reader is where the newest is."""
    from sqlalchemy import select

    from chat import log
    from chat.models import LogEntry
    from realtime.cursor import Cursor
    from realtime.event import Page
    from realtime.tail import Tail

    def take(session: Any, participant_id: str) -> Cursor:
        with session.get_bind().engine.begin() as connection:
            epoch, head = connection.execute(log.TAKE, {"log": participant_id}).one()
        return Cursor(epoch, head)

    def after(session: Any, name: str, seq: int, limit: int) -> Page:
        newer = select(LogEntry).where(LogEntry.participant_id == name, LogEntry.seq > seq)
        entries = session.scalars(newer.order_by(LogEntry.seq).limit(limit)).all()
        shown = log.look_up(session, entries)
        events = [log.event_of(entry, shown.get((entry.kind, entry.subject_id)), entry.seq) for entry in entries]
        return Page(log.heads(session, [name])[name], events)

    def heard(self: Any, epoch: str, seq: int, event: Any = None) -> None:
        if event is not None and epoch == self.epoch and seq > self.last:
            self._take(event)

    replace(log, "hold", lambda session, *logs: None)
    replace(log, "take", take)
    replace(log, "after", after)
    replace(Tail, "heard", heard)


@mutant
def check_then_insert() -> None:
    """R20: one transaction looks whether the key is new and stores the message, the next one keeps the key."""
    from sqlalchemy.exc import IntegrityError

    from chat import idempotency
    from chat.store import Store

    remember = idempotency.remember
    write = Store.write

    def later(session: Any, *kept: Any) -> None:
        session.info["kept"] = kept

    def in_two(self: Any, work: Callable[[Any], Any]) -> Any:
        def noted(session: Any) -> Any:
            return work(session), session.info.get("kept")

        result, kept = write(self, noted)
        if kept:
            with suppress(IntegrityError):
                write(self, lambda session: remember(session, *kept))
        return result

    replace(idempotency, "remember", later)
    replace(Store, "write", in_two)


@mutant
def eager_pruner() -> None:
    """Not a mutant but a tweak: what is to be forgotten is forgotten within seconds, not within the hour."""
    from chat import pruner

    replace(pruner, "EVERY", 1.0)


@mutant
def append_on_arrival() -> None:
    """R21: an event is taken when it comes, whatever its number."""
    from chat import drafts

    take = drafts.take

    def as_it_comes(session: Any, agent: Any, thread: Any, batch: Any) -> Any:
        batch.index = None
        return take(session, agent, thread, batch)

    replace(drafts, "take", as_it_comes)
