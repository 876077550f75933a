"""kill -9 of a worker, of the broker, of everything, in the middle of a conversation: nothing lost, nothing doubled."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.live.people import Person, newcomer
from tests.live.reader import Follower
from tests.live.talk import Talk, settle
from tests.server import Server, children, command_line
from tests.until import until

FOLLOWERS = 4
WORDS = 4  # said while the broker is away
SLACK = 5  # times the promised figure: machines of tests are slow
WEBHOOK = 2.0  # seconds, with the broker dead or paused
BY_TICK = 3.0  # seconds until a message is seen without the broker


def kill_a_worker(server: Server) -> None:
    # The one that holds more streams: all of them may have come to the same.
    victim = max(server.workers(), key=lambda pid: len(os.listdir(f"/proc/{pid}/fd")))
    os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in server.workers() and len(server.workers()) == 2)


def kill_both_workers(server: Server) -> None:
    victims = server.workers()
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
    until(lambda: not set(victims) & set(server.workers()) and len(server.workers()) == 2)


def kill_the_broker(server: Server) -> None:
    victim = server.broker()
    os.kill(victim, signal.SIGKILL)
    until(lambda: is_back(server, victim))


def is_back(server: Server, victim: int) -> bool:
    try:
        return server.broker() != victim
    except AssertionError:
        return False  # the supervisor has not started it yet


def kill_everything(server: Server) -> None:
    """As a machine that loses its power; then started again at the same place."""
    for pid in (server.pid, *descendants(server.pid)):
        os.kill(pid, signal.SIGKILL)
    server.stop()
    server.start()


def kill_the_master(server: Server) -> None:
    """And start it again at once, while its workers have not noticed yet and hold the port."""
    server.stop(signal.SIGKILL)
    server.start()


def descendants(pid: int) -> list[int]:
    found = children(pid)
    return found + [further for child in found for further in descendants(child)]


@pytest.mark.parametrize(
    "broken", [kill_a_worker, kill_both_workers, kill_the_broker, kill_the_master, kill_everything]
)
def test_a_kill_in_the_middle_of_a_conversation_loses_and_doubles_nothing(
    breakable: Server, broken: Callable[[Server], None]
) -> None:
    alice = newcomer(breakable)
    thread_id = alice.new_thread()
    with ExitStack() as stack:
        followers = follow(stack, alice, alice.cursor)
        with Talk(alice, thread_id) as talk:
            talk.goes_on()
            broken(breakable)
            talk.goes_on()
        settle(talk, alice, thread_id, followers)
    if broken is not kill_the_broker:
        assert sum(follower.visits for follower in followers) > FOLLOWERS, "nobody was cut off"
    print(f"{broken.__name__}: {len(talk.acknowledged)} acknowledged, the slowest after {talk.slowest:.1f} s")


def follow(stack: ExitStack, person: Person, cursor: str) -> list[Follower]:
    followers = [stack.enter_context(person.follower("/stream", cursor)) for _ in range(FOLLOWERS)]
    for follower in followers:
        follower.wait("ready")
    return followers


@contextmanager
def paused(server: Server) -> Iterator[None]:
    """A broker that takes everything and answers nothing."""
    broker = server.broker()
    os.kill(broker, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(broker, signal.SIGCONT)


@contextmanager
def dead(server: Server) -> Iterator[None]:
    """A broker that nobody starts again before the end."""
    broker = server.broker()
    supervisor = next(pid for pid in children(server.pid) if broker in children(pid))
    assert b"supervisor" in command_line(supervisor)
    os.kill(supervisor, signal.SIGSTOP)
    try:
        os.kill(broker, signal.SIGKILL)
        yield
    finally:
        os.kill(supervisor, signal.SIGCONT)


@pytest.mark.parametrize("away", [paused, dead])
def test_without_the_broker_webhooks_are_taken_and_seen_within_seconds(
    breakable: Server, away: Callable[[Server], Iterator[None]]
) -> None:
    alice = newcomer(breakable)
    thread_id = alice.new_thread()
    posts, arrivals = [], []
    with ExitStack() as stack:
        readers = [stack.enter_context(alice.reader()) for _ in range(FOLLOWERS)]
        for reader in readers:
            reader.wait("ready")
        with away(breakable):  # type: ignore[attr-defined]
            for number in range(WORDS):
                began = time.monotonic()
                status, _ = breakable.reply(thread_id, f"word {number}", f"{thread_id} {number}")
                posts.append(time.monotonic() - began)
                assert status == 200
                for reader in readers:
                    reader.wait_for_text(f"word {number}", BY_TICK * SLACK)
                arrivals.append(time.monotonic() - began)
            with alice.reader() as late:  # a stream can still be opened
                late.wait("ready", seconds=BY_TICK * SLACK)
        until(breakable.is_ready, BY_TICK * SLACK)
        breakable.reply(thread_id, "the end", f"{thread_id} the end")
        for reader in readers:
            said = [message["text"] for message in reader.wait_for_text("the end")]
            assert said == [f"word {number}" for number in range(WORDS)] + ["the end"]
            assert not reader.end
    print(f"{away.__name__}: POST {max(posts):.2f} s at most, seen after {max(arrivals):.2f} s at most")
    assert max(posts) < WEBHOOK * SLACK
