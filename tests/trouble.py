"""What may befall a store on PostgreSQL, and what is expected of it then."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import gevent
import psycopg
import pytest
from sqlalchemy import text

from chat.models import Tenant
from chat.store import Store, StoreAway
from tests.postgres import Cluster
from tests.until import until

SLACK = 1.5  # seconds


def add(name: str) -> Callable[[Any], None]:
    return lambda session: session.add(Tenant(name=name))


def count(session: Any) -> int:
    return int(session.query(Tenant).count())


def expect_away(call: Callable[[], object], within: float, match: str | None = None) -> None:
    began = time.monotonic()
    with pytest.raises(StoreAway, match=match):
        call()
    assert time.monotonic() - began < within + SLACK


def expect_whole(store: Store) -> None:
    """Nothing hangs, and every connection of the pool can be had at once."""
    until(lambda: works(store))
    assert store.in_use == 0
    readers = [gevent.spawn(store.read, lambda s: s.scalar(text("SELECT 7 FROM pg_sleep(0.01)"))) for _ in range(30)]
    gevent.joinall(readers, raise_error=True)
    assert {reader.value for reader in readers} == {7}
    assert store.in_use == 0


def works(store: Store) -> bool:
    try:
        store.write(lambda s: s.execute(text("SELECT 1")))
    except StoreAway:
        return False
    return True


@contextmanager
def loop_goes_on() -> Iterator[None]:
    stalls, running = [0.0], True

    def tick() -> None:
        while running:
            before = time.monotonic()
            gevent.sleep(0.01)
            stalls.append(time.monotonic() - before - 0.01)

    ticking = gevent.spawn(tick)
    yield
    running = False
    ticking.join()
    assert len(stalls) > 50
    assert max(stalls) < 1.0


@contextmanager
def locked(store: Store, table: str = "tenants") -> Iterator[None]:
    with closing(psycopg.connect(store.url)) as connection:
        connection.execute(f"LOCK TABLE {table}")
        yield


@contextmanager
def paused(server: Cluster) -> Iterator[None]:
    """The server takes connections and answers nothing."""
    server.send(signal.SIGSTOP)
    try:
        yield
    finally:
        server.send(signal.SIGCONT)


def together(store: Store, number: int) -> set[int]:
    """Use so many connections at once; return the server's process ids."""

    found: set[int] = set()

    def held(session: Any) -> None:
        found.add(session.scalar(text("SELECT pg_backend_pid()")))
        until(lambda: len(found) == number)

    gevent.joinall([gevent.spawn(store.read, held) for _ in range(number)], raise_error=True)
    return found
