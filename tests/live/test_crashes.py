"""kill -9 of all workers, the master, everything in mid-conversation; of less in faults/test_workers.py."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tests.live.kills import kill_both_workers
from tests.live.people import Person, newcomer
from tests.live.reader import Follower
from tests.live.talk import Talk, settle
from tests.server import Server, children, command_line
from tests.until import until

FOLLOWERS = 4


def kill_everything(server: Server) -> None:
    """As a machine that loses its power; then started again at the same place."""
    for pid in (server.pid, *descendants(server.pid)):
        os.kill(pid, signal.SIGKILL)
    server.stop()
    server.start()


def kill_the_master(server: Server) -> None:
    """And start it again at once, while its workers have not noticed yet and hold the port."""
    old = server.workers()
    server.stop(signal.SIGKILL)
    server.start()
    until(lambda: not any(command_line(pid) for pid in old), 30)  # they answer until they notice, and cut what is left


def descendants(pid: int) -> list[int]:
    found = children(pid)
    return found + [further for child in found for further in descendants(child)]


@pytest.mark.parametrize("broken", [kill_both_workers, kill_the_master, kill_everything])
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
    assert sum(follower.visits for follower in followers) > FOLLOWERS, "nobody was cut off"
    print(f"{broken.__name__}: {len(talk.acknowledged)} acknowledged, the slowest after {talk.slowest:.1f} s")


def follow(stack: ExitStack, person: Person, cursor: str) -> list[Follower]:
    followers = [stack.enter_context(person.follower("/stream", cursor)) for _ in range(FOLLOWERS)]
    for follower in followers:
        follower.wait("ready")
    return followers
