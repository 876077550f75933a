"""PostgreSQL fails in the middle of a conversation: 503 meanwhile, then all is as if nothing had been (R9, R10)."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import gevent
import pytest

from tests.live.people import newcomer
from tests.live.talk import Talk, settle
from tests.postgres import cluster
from tests.server import Server

FOLLOWERS = 4
AWAY = 5.0  # seconds
REFUSED = 3.0
HEALTH = 0.5
SLACK = 4  # times the promised figure: machines of tests are slow


@pytest.fixture
def breaking(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "server", "postgresql", DRAIN_SECONDS=1)
    try:
        yield server.start()
    finally:
        server.stop()


def restart(server: Server) -> None:
    """As `pg_ctl restart -m immediate` does."""
    cluster().stop(signal.SIGQUIT)
    cluster().start()


def pause(server: Server) -> None:
    """Meanwhile whoever asks is told in time, and the worker says that it lives."""
    cluster().send(signal.SIGSTOP)
    try:
        until = time.monotonic() + AWAY
        while time.monotonic() < until:
            expect_refusal(server)
            gevent.sleep(0.1)
    finally:
        cluster().send(signal.SIGCONT)


def expect_refusal(server: Server) -> None:
    for path, status, promised in (
        ("/threads", 503, REFUSED),
        ("/health/ready", 503, HEALTH),
        ("/health/live", 200, HEALTH),
    ):
        began = time.monotonic()
        answered, headers, _ = server.raw("GET", path)
        assert answered == status
        assert time.monotonic() - began < promised * SLACK
        assert ("Retry-After" in headers) == (path == "/threads")


@pytest.mark.parametrize("broken", [restart, pause])
def test_a_database_that_fails_in_the_middle_of_a_conversation_loses_and_doubles_nothing(
    breaking: Server, broken: Callable[[Server], None]
) -> None:
    alice = newcomer(breaking)
    thread = alice.new_thread()
    with ExitStack() as stack:
        followers = [stack.enter_context(alice.follower("/stream", alice.cursor)) for _ in range(FOLLOWERS)]
        for follower in followers:
            follower.wait("ready")
        with Talk(alice, thread) as talk:
            talk.goes_on()
            broken(breaking)
            talk.goes_on()
        settle(talk, alice, thread, followers)
        assert [follower.visits for follower in followers] == [1] * FOLLOWERS, "the streams stayed open"
    assert "Exception on" not in breaking.log(), "a door answered 500"
    print(f"{broken.__name__}: {len(talk.acknowledged)} acknowledged, the slowest after {talk.slowest:.1f} s")
