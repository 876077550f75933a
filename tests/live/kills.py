"""kill -9, and how to see that what was killed is back."""

from __future__ import annotations

import os
import signal

from tests.server import Server
from tests.until import until


def kill_a_worker(server: Server) -> None:
    # The one that holds more streams: all of them may have come to the same.
    victim = max(server.workers(), key=lambda pid: len(os.listdir(f"/proc/{pid}/fd")))
    os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in server.workers() and len(server.workers()) == 2, 30)


def kill_both_workers(server: Server) -> None:
    victims = server.workers()
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
    until(lambda: not set(victims) & set(server.workers()) and len(server.workers()) == 2, 30)


def is_back(server: Server, victim: int) -> bool:
    try:
        return server.broker() != victim
    except AssertionError:
        return False  # the supervisor has not started it yet
