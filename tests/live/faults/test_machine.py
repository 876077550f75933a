"""The machine itself fails: its clock jumps, its disk is full, its files are all open."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from datetime import UTC, datetime
from http.client import HTTPException
from math import inf
from pathlib import Path

import gevent
import pytest

from tests.live.faults import generous
from tests.live.faults.clock import Clock, time_at
from tests.live.faults.conftest import StartRig
from tests.live.faults.gauges import Distribution
from tests.live.faults.report import span
from tests.live.faults.rig import Rig
from tests.live.faults.test_workers import hang_up
from tests.live.reader import Reader, named
from tests.until import until

pytestmark = pytest.mark.timeout(300)  # seconds, on machines that have other things to do

HEARTBEAT = 18.0  # seconds, the longest time between two
RECOVERY = 5.0  # seconds
DISK = "8m"
FILES = 300
LAGS = (0.1, 0.2, 0.5, 1.0, 2.5, 5.0, inf)  # seconds
MOSTLY_LATE = 0.2  # seconds, for 99.9 % of all turns
LATEST = 1.0
SLOW = {"webhooks": 3, "messages": 1, "streams": 20}  # under libfaketime a server under load takes ten times as long
CROWD = 700


# The loop


@pytest.mark.row("R12", mutant="sleep_that_blocks")
def test_the_loop_turns_all_the_time(whole_rig: Rig) -> None:
    """By a timer of 50 ms in every worker."""
    with whole_rig.load() as ledger:
        ledger.goes_on(20)
        lags = Distribution(whole_rig.server, "event_loop_lag_seconds", LAGS)
        ledger.goes_on(200)
    ledger.settle().check()
    most, longest = lags.quantile(0.999), lags.quantile(1.0)
    whole_rig.notes.append(f"p99.9 at most {most} s late, the longest at most {longest} s")
    assert most <= generous(MOSTLY_LATE)
    assert longest <= generous(LATEST)


# The clock


@pytest.mark.slow
@pytest.mark.row("R30", mutant="wall_clock_for_timeouts")
def test_a_clock_that_jumps_cuts_no_stream_and_stops_no_heartbeat(start_rig: StartRig, tmp_path: Path) -> None:
    clock = Clock(tmp_path)
    rig = start_rig(**clock.settings)
    with rig.load(**SLOW) as ledger:
        ledger.goes_on(10)
        clock.jump(3600, rig.server)
        ledger.goes_on(5)
        clock.jump(-2 * 3600, rig.server)
        with span() as after:
            ledger.lasts(HEARTBEAT)
            ledger.goes_on(5)
    report = ledger.settle()
    report.check(at_least=20)
    assert report.cut_off == {}
    silent = [
        watcher.name
        for watcher in report.watchers
        if watcher.kind != "chromium" and not any(told["t"] in after for told in watcher.named("ping"))
    ]
    assert silent == []


LEAP_DAY = datetime(2028, 2, 29, tzinfo=UTC)
SUMMER_TIME = datetime(2028, 3, 26, 1, tzinfo=UTC)
WINTER_TIME = datetime(2028, 10, 29, 1, tzinfo=UTC)


@pytest.mark.slow
@pytest.mark.row("R30")
def test_a_calendar_that_does_something_odd_is_not_noticed(start_rig: StartRig, tmp_path: Path) -> None:
    clock = Clock(tmp_path, ahead=LEAP_DAY.timestamp() - 60 - time.time())
    rig = start_rig(**clock.settings, TZ="Europe/Berlin", SESSION_DAYS=3650, RETENTION_DAYS=0)  # months pass
    with rig.load(**SLOW) as ledger:
        ledger.goes_on(10)
        for moment in (LEAP_DAY, SUMMER_TIME, WINTER_TIME):
            rest = moment.timestamp() - 3 - time_at(rig.server)
            assert rest > 0, "it came too early"
            clock.jump(rest, rig.server)
            until(lambda moment=moment: time_at(rig.server) > moment.timestamp() + 1, 20)
            ledger.goes_on(5)
    report = ledger.settle()
    report.check(at_least=20)
    assert report.cut_off == {}


# The disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """All that a rig of this test writes, its database and its log, is on a disk of 8 MB."""
    disk = tmp_path / "rig"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", disk], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("nothing may be mounted here")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.mark.slow
@pytest.mark.row("R31", mutant="log_failure_is_a_crash")
def test_a_full_disk_refuses_what_it_cannot_keep_and_heals_by_itself(small_disk: Path, start_rig: StartRig) -> None:
    rig = start_rig()
    workers = rig.server.workers()
    with rig.load() as ledger:
        ledger.goes_on()
        filling = fill(small_disk)
        until(lambda: health(rig) == (503, "read-only"), 30)  # until then there is room in the files that SQLite has
        with span() as full:
            ledger.lasts(3)
            assert rig.server.call("GET", "/threads", token=ledger.load.cast[0].token)[0] == 200, "it can be read"
        filling.unlink()
        with span() as healing:
            ledger.goes_on(1, generous(RECOVERY))
            until(lambda: health(rig) == (200, "ok"), generous(RECOVERY))
        ledger.goes_on()
    report = ledger.settle()
    report.check()
    rig.notes.append(f"full: {report.answers(full)}; back {healing.end - healing.start:.2f} s after")
    # A small one may still fit into what SQLite has; the oracle knows whether it is there.
    assert set(report.answers(full).statuses) <= {200, 503}
    assert report.answers(full).statuses[503] > report.answers(full).statuses[200]
    assert healing.end - healing.start <= generous(RECOVERY)
    assert report.cut_off == {}
    assert rig.server.workers() == workers
    assert integrity(rig) == ["ok"]


@pytest.mark.slow
@pytest.mark.row("R31")
def test_workers_that_die_on_a_full_disk_are_replaced_and_nothing_is_broken(
    small_disk: Path, start_rig: StartRig
) -> None:
    rig = start_rig()
    with rig.load(streams=20, kinds=()) as ledger:
        ledger.goes_on()
        filling = fill(small_disk)
        old = rig.server.workers()
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        until(lambda: len(set(rig.server.workers()) - set(old)) == 2 and is_alive(rig), 30)
        assert rig.server.call("GET", "/threads", token=ledger.load.cast[0].token)[0] == 200, "it can be read"
        filling.unlink()
        ledger.goes_on(1, generous(RECOVERY))
        ledger.goes_on()
    ledger.settle().check()
    assert integrity(rig) == ["ok"]


def integrity(rig: Rig) -> list[str]:
    with closing(sqlite3.connect(rig.server.data_dir / "backchannel.db")) as database:
        return [line for (line,) in database.execute("PRAGMA integrity_check")]


def is_alive(rig: Rig) -> bool:
    try:
        return rig.server.call("GET", "/health/live", token=None)[0] == 200
    except OSError:
        return False


def fill(disk: Path) -> Path:
    """Take all room that is left, to the last byte."""
    path = disk / "filling"
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            with suppress(OSError):
                while file.write(bytes(size)):
                    pass
    return path


def health(rig: Rig) -> tuple[int, str]:
    status, ready = rig.server.call("GET", "/health/ready", token=None)
    return status, ready["store"]


# Open files


@pytest.mark.slow
@pytest.mark.row("R32", mutant="no_cap_of_files")
def test_workers_that_may_open_few_files_refuse_a_crowd_softly_and_serve_on(start_rig: StartRig) -> None:
    rig = start_rig()
    resource.prlimit(rig.server.pid, resource.RLIMIT_NOFILE, (FILES, FILES))
    hang_up(rig.server)  # for workers that inherit it
    workers = rig.server.workers()
    quiet = rig.cast(parties=4, threads_each=1)
    with rig.load(streams=20) as ledger:
        ledger.goes_on()
        with ExitStack() as stack:
            readers = [Reader(rig.url, "/stream", quiet[number % 4].token) for number in range(CROWD)]
            gevent.joinall([gevent.spawn(come, reader, stack) for reader in readers])
            refused = [reader for reader in readers if named(reader.events, "bye")]
            assert len(open_files(rig)) == 2
            ledger.goes_on(50)
        ledger.goes_on()
    report = ledger.settle()
    report.check()
    rig.notes.append(f"{len(refused)} of {CROWD} refused; {report.answers()}")
    assert all(named(reader.events, "bye")[0].json["reason"] == "limit" for reader in refused)
    assert CROWD - 2 * FILES < len(refused) < CROWD
    assert report.cut_off == {}
    assert rig.server.workers() == workers


def come(reader: Reader, stack: ExitStack) -> None:
    """Come to a stream or to its refusal, which is one that ends at once."""
    with suppress(OSError, HTTPException):
        stack.enter_context(reader)
        until(lambda: reader.end or named(reader.events, "ready"), 30)


def open_files(rig: Rig) -> list[int]:
    return [len(os.listdir(f"/proc/{pid}/fd")) for pid in rig.server.workers()]
