"""Workers are killed, replaced and told to leave in the middle of it all."""

from __future__ import annotations

import os
import signal
from itertools import takewhile

import pytest

from tests.live.faults import generous
from tests.live.faults.report import span
from tests.live.faults.rig import Rig
from tests.live.faults.watchers import Watcher
from tests.server import Server
from tests.until import until

BACK = 6.0  # seconds from a cut until a client has its stream again, for 95 % of them
LEFT = 5.0  # seconds from the signal until the last stream has ended
SPREAD = 2.0  # seconds over which those who come back are spread, at least


def kill_one(rig: Rig) -> None:
    """Kill a worker beside one that serves: with none, everybody would wait for as long as a worker takes to start."""
    until(lambda: all(is_serving(rig.server, pid) for pid in rig.server.workers()), 60)
    # The one that holds more streams: the other may be so young that it has none.
    victim = max(rig.server.workers(), key=lambda pid: len(os.listdir(f"/proc/{pid}/fd")))
    os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in rig.server.workers() and len(rig.server.workers()) == 2, 30)


def is_serving(server: Server, pid: int) -> bool:
    return any(str(pid) in line and "hearing the broker" in line for line in server.log().splitlines())


@pytest.mark.row("R13", mutant="ack_before_commit")
@pytest.mark.parametrize("times", [pytest.param(3, marks=pytest.mark.quick), pytest.param(5, marks=pytest.mark.slow)])
def test_killed_workers_lose_nothing_and_everybody_comes_back(whole_rig: Rig, times: int) -> None:
    with whole_rig.load() as ledger:
        for _ in range(times):
            ledger.lasts(3)
            kill_one(whole_rig)
        ledger.lasts(3)
        until(lambda: all(watcher.is_connected for watcher in ledger.watchers), generous(BACK))
    report = ledger.settle()
    report.check()
    away = sorted(seconds for watcher in report.watchers for seconds in watcher.reconnects)
    assert len(away) > len(report.watchers) // 2, "hardly anybody was cut off"
    p95 = away[int(0.95 * len(away))]
    whole_rig.notes.append(f"{len(away)} reconnects, p95 {p95:.2f} s, max {away[-1]:.2f} s")
    assert p95 <= generous(BACK)


@pytest.mark.row("R14", mutant="no_drain")
@pytest.mark.parametrize(
    "streams", [pytest.param(60, marks=pytest.mark.quick), pytest.param(300, marks=pytest.mark.slow)]
)
def test_sigterm_ends_every_stream_with_a_bye_and_loses_nothing(rig: Rig, streams: int) -> None:
    with rig.load(streams=streams) as ledger:
        ledger.goes_on()
        with span() as leaving:
            os.kill(rig.server.pid, signal.SIGTERM)
            rig.server.stop()
        rig.server.start()
        ledger.goes_on()
    report = ledger.settle()
    report.check()
    check_farewells(rig, report.watchers, leaving.start)


@pytest.mark.row("R14", mutant="no_drain")
def test_hup_refuses_nobody_and_ends_every_stream_with_a_bye(whole_rig: Rig) -> None:
    with whole_rig.load() as ledger:
        ledger.goes_on()
        with span() as leaving:
            hang_up(whole_rig.server)
            ledger.lasts(LEFT)
    report = ledger.settle()
    report.check()
    whole_rig.notes.append(f"leaving: {report.answers(leaving)}")
    tries = report.attempts(leaving) + report.attempts(leaving, "message")
    # Beside much else two workers that start take all there is, and a transaction its 2 s.
    assert [attempt for attempt in tries if attempt.error or attempt.status not in (200, 201, 503)] == []
    check_farewells(whole_rig, report.watchers, leaving.start)
    knocks = [told["t"] for watcher in report.watchers for told in watcher.named("knock") if told["t"] > leaving.start]
    assert max(knocks) - min(knocks) >= SPREAD


def hang_up(server: Server) -> None:
    """Tell it to replace its workers, and wait until it has."""
    before = server.workers()
    os.kill(server.pid, signal.SIGHUP)
    until(lambda: not set(before) & set(server.workers()) and len(server.workers()) == 2, 30)


def check_farewells(rig: Rig, watchers: list[Watcher], since: float) -> None:
    """Every stream open at that time was told to come back, each at a time of its own, and then ended as HTTP says."""
    ends = [farewell(watcher, since) for watcher in watchers if watcher.kind != "chromium"]
    assert [end for end in ends if end["how"] != "clean"] == []
    took = max(end["t"] for end in ends) - since
    retries = [end["retry_ms"] for end in ends]
    rig.notes.append(f"{len(ends)} byes, the last after {took:.2f} s, to come back in {min(retries)}-{max(retries)} ms")
    assert took <= generous(LEFT)
    assert max(retries) - min(retries) >= SPREAD * 1000


def farewell(watcher: Watcher, since: float) -> dict[str, object]:
    """How its first stream to end after that time ended: {"t", "how", "retry_ms"}."""
    later = [told for told in watcher.events if told["t"] > since]
    stream = list(takewhile(lambda told: told["event"] != "end", later))
    assert stream, f"{watcher.name} was cut without a bye"
    assert stream[-1]["event"] == "bye", f"{watcher.name} was cut after {stream[-1]}"
    assert stream[-1]["data"]["reason"] == "drain"
    return {**later[len(stream)], "retry_ms": stream[-1]["data"]["retry_ms"]}
