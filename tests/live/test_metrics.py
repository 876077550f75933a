"""The numbers of a real server: right over all workers, whichever answers and whichever dies."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack

from tests.live.people import newcomer
from tests.server import Server
from tests.test_metrics import numbers
from tests.until import until

STREAMS = 12
OPEN = "backchannel_streams_open"
PATHS = {"everything": "/stream", "thread": "/threads/{}/events"}


def scrape(server: Server) -> dict[str, float]:
    status, _, text = server.raw("GET", "/metrics", token=None)
    assert status == 200
    return numbers(text.decode())


def open_streams(server: Server) -> float:
    return sum(value for name, value in scrape(server).items() if name.startswith(f"{OPEN}{{"))


def test_the_gauge_of_streams_is_right_though_a_worker_is_killed(breakable: Server) -> None:
    people = [newcomer(breakable) for _ in range(4)]
    until(lambda: open_streams(breakable) == 0, 30)
    with ExitStack() as stack:
        readers = []
        for number in range(STREAMS):
            alice = people[number % len(people)]
            path = "/stream" if number % 2 else f"/threads/{alice.new_thread()}/events"
            readers.append(stack.enter_context(alice.reader(path)))
        for reader in readers:
            reader.wait("ready")
        seen = scrape(breakable)
        assert (seen[f'{OPEN}{{kind="everything"}}'], seen[f'{OPEN}{{kind="thread"}}']) == (STREAMS / 2, STREAMS / 2)
        victim = max(breakable.workers(), key=lambda pid: len(os.listdir(f"/proc/{pid}/fd")))
        os.kill(victim, signal.SIGKILL)
        until(lambda: victim not in breakable.workers() and len(breakable.workers()) == 2, 30)
        cut = until(lambda: sum(bool(reader.end) for reader in readers), 30)
        assert cut > 0
        until(lambda: open_streams(breakable) == sum(not reader.end for reader in readers), 30)
        opened = sum(value for name, value in scrape(breakable).items() if "streams_opened" in name)
        assert opened >= STREAMS, "what the dead worker counted is lost"
    until(lambda: open_streams(breakable) == 0, 30)


def test_a_conversation_shows_in_the_numbers(breakable: Server) -> None:
    alice = newcomer(breakable)
    thread_id = alice.new_thread()
    before = scrape(breakable)
    with alice.reader() as reader:
        reader.wait("ready")
        alice.say(thread_id, "Is anybody there?")
        reader.wait_for_text("You said: Is anybody there?")

    def grown() -> set[str]:
        return {name for name, value in scrape(breakable).items() if value > before.get(name, 0)}

    wanted = {
        'backchannel_webhooks_total{status="200"}',
        'backchannel_dispatch_attempts_total{outcome="accepted"}',
        'backchannel_runs_ended_total{status="success"}',
        'backchannel_streams_resumed_total{cause="",outcome="fresh"}',
        'backchannel_streams_closed_total{reason="gone"}',
        "backchannel_hints_published_total",
        "backchannel_commit_to_write_seconds_count",
        "backchannel_event_loop_lag_seconds_count",
    }
    until(lambda: wanted <= grown(), 30)


def test_a_lost_broker_is_counted(breakable: Server) -> None:
    before = scrape(breakable).get("backchannel_broker_reconnects_total", 0)
    os.kill(breakable.broker(), signal.SIGKILL)
    until(lambda: scrape(breakable).get("backchannel_broker_reconnects_total", 0) > before, 30)
    until(breakable.is_ready, 30)
