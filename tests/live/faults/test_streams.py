"""Many streams, slow ones, and such whose readers are gone: none costs the others anything."""

from __future__ import annotations

import os
import signal
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import gevent
import pytest
from gevent import socket

from bench.fleet import Fleet
from tests.live.faults import generous
from tests.live.faults.cast import Party
from tests.live.faults.conftest import StartRig
from tests.live.faults.crowd import crowd
from tests.live.faults.gauges import MB, forget_peak, memory, metric, open_files, peak
from tests.live.faults.report import Span, span
from tests.live.faults.rig import Rig
from tests.live.faults.seeds import seed
from tests.live.faults.vanish import vanish
from tests.server import Server
from tests.until import until

FREED = 30.0  # seconds until nothing is left of a reader who does not read, or has vanished
CUT = min(generous(FREED), 120)  # the first of these here: it is our own doing, while the kernel's clock is nobody's
CROWD = 50  # of those
FEW = 4  # files that come and go by themselves
GROWTH = 50 * MB
OTHERS = 0.5  # seconds, the p99 of what the others hear
CAPPED = 0.3  # seconds, the p99 of webhooks beside a full house
STORM = 2000
PERSONS = 40  # who talk and have the storm's pages; with four, what is measured is 20,000 deliveries a second
BACK = (15.0, 30.0)  # seconds until 95 %, and all, of a crowd that was cut off are back
HURRY = min(1.5, generous(1))  # times that, here: their own pauses are a good part, so a slow machine is a small one
SPREAD = 2000  # ms between those who are called back early and late
FAR = 10_000  # events
CAUGHT_UP = 5.0  # seconds
MANY = 10_000
LONGEST_PING = 22.0  # seconds: 15 +20 %, and a little for a slow machine
LONG = "x" * 20_000


@contextmanager
def open_sockets(made: list[socket.socket], server: Server, party: Party) -> Iterator[None]:
    """Open a stream on each socket, and read it up to its greeting; from then on, nobody reads."""
    try:
        for sock in made:
            sock.settimeout(30)
            sock.connect((urlsplit(server.url).hostname, server.port))
            sock.sendall(f"GET /stream HTTP/1.0\r\nAuthorization: Bearer {party.token}\r\n\r\n".encode())
        for sock in made:
            until_ready(sock)
        yield
    finally:
        for sock in made:
            sock.close()


def until_ready(sock: socket.socket) -> None:
    heard = b""
    while b"event: ready" not in heard:
        heard += (more := sock.recv(512))
        assert more, heard


def narrow() -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return sock


@pytest.mark.row("R17", mutant="unbounded_queue")
def test_readers_who_do_not_read_are_cut_and_cost_nobody_anything(whole_rig: Rig) -> None:
    server = whole_rig.server
    with whole_rig.load() as ledger:
        ledger.goes_on()
        slow, files, before, cut = ledger.load.cast[0], open_files(server), memory(server), stalled(server)
        with open_sockets([narrow() for _ in range(CROWD)], server, slow), span() as slowed:
            for number in range(60):
                ledger.load.say("webhook", slow, slow.threads[1], f"{number} {LONG}")
            until(lambda: stalled(server) >= cut + CROWD, CUT)
            until(lambda: open_files(server) <= files + FEW, CUT)
    report = ledger.settle()
    report.check()
    took, grown, late = slowed.end - slowed.start, memory(server) - before, report.late(slowed)
    whole_rig.notes.append(f"cut after {took:.1f} s, {grown / MB:.1f} MB more, p99 {late:.2f} s late")
    assert grown <= GROWTH
    assert late <= generous(OTHERS)


def stalled(server: Server) -> float:
    return metric(server, "streams_closed_total", 'reason="stalled"')


@pytest.mark.row("R18", mutant="no_user_timeout")
def test_readers_who_vanish_are_let_go(whole_rig: Rig) -> None:
    server = whole_rig.server
    with whole_rig.load(streams=8, watchers=1) as ledger:
        ledger.goes_on(10)
        files, streams = open_files(server), metric(server, "streams_open")
        readers = [socket.socket() for _ in range(CROWD)]
        with open_sockets(readers, server, ledger.load.cast[0]):
            assert metric(server, "streams_open") >= CROWD  # a watcher of the row before may be leaving still
            with span() as gone:
                for reader in readers:
                    vanish(reader)
                until(lambda: metric(server, "streams_open") <= streams, FREED)
                until(lambda: open_files(server) <= files + FEW, FREED)
    ledger.settle().check(at_least=30)
    whole_rig.notes.append(f"{CROWD} let go after {gone.end - gone.start:.1f} s")


@pytest.mark.slow
@pytest.mark.row("R26", mutant="no_cap")
def test_above_the_cap_streams_are_asked_to_come_back_and_webhooks_do_not_notice(start_rig: StartRig) -> None:
    cap, more = 1000, 500
    rig = start_rig(workers=1, STREAMS_PER_WORKER=cap)
    with rig.load(streams=12, watchers=2, parties=PERSONS) as ledger:
        ledger.goes_on(10)
        free = cap - len(ledger.watchers)
        with crowd(rig, ledger.load.cast, free + more) as fleet:
            until(lambda: fleet.open == free and fleet.counts["bye limit"] >= more, 60)
            with span() as crowded:
                ledger.lasts(8)
            assert set(fleet.counts) == {"ready", "bye limit"}, "the others are told so, and nothing else happens"
            assert fleet.open == free
            assert min(fleet.pauses) >= 2000
    report = ledger.settle()
    report.check()
    rig.notes.append(f"{dict(fleet.counts)}; {report.answers(crowded)}")
    assert report.answers(crowded).p99 <= generous(CAPPED)
    assert report.cut_off == {}, "no old stream is thrown out"


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.row("R27", mutant="narrow_door")
def test_a_crowd_that_is_cut_off_at_once_is_soon_back(whole_rig: Rig) -> None:
    with (
        whole_rig.load(streams=8, watchers=1, parties=PERSONS) as ledger,
        crowd(whole_rig, ledger.load.cast, STORM) as fleet,
    ):
        until(lambda: fleet.open == STORM, 120)
        with span() as storm:
            whole_rig.proxies["client"].cut()
            until(lambda: fleet.counts["ready"] >= STORM * 1.9, 30)
            back = [until_back(fleet, storm, share) for share in (0.95, 1.0)]
        ledger.goes_on(10)
    report = ledger.settle()
    report.check()
    told = report.answers(storm)
    whole_rig.notes.append(f"95 % back after {back[0]:.1f} s, all after {back[1]:.1f} s; {dict(fleet.counts)}; {told}")
    assert back[0] <= BACK[0] * HURRY
    assert back[1] <= BACK[1] * HURRY
    assert [status for status in told.statuses if isinstance(status, int) and status >= 500] == []


def until_back(fleet: Fleet, storm: Span, share: float) -> float:
    until(lambda: fleet.open >= share * STORM, 120)
    return time.time() - storm.start


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.row("R27", mutant="fixed_retry")
def test_a_crowd_that_is_sent_away_is_not_called_back_at_once(whole_rig: Rig) -> None:
    with (
        whole_rig.load(streams=8, watchers=1, parties=PERSONS) as ledger,
        crowd(whole_rig, ledger.load.cast, STORM) as fleet,
    ):
        until(lambda: fleet.open == STORM, 120)
        before, leaving = set(whole_rig.server.workers()), time.monotonic()
        os.kill(whole_rig.server.pid, signal.SIGHUP)
        until(lambda: not before & set(whole_rig.server.workers()), 60)
        until(lambda: fleet.open == STORM, 120)
        took = time.monotonic() - leaving
        ledger.goes_on(10)
    ledger.settle().check()
    spread = statistics.quantiles(fleet.pauses, n=20)
    whole_rig.notes.append(f"back after {took:.1f} s; told to stay away for {spread[0]:.0f}-{spread[-1]:.0f} ms")
    assert fleet.counts["bye drain"] >= STORM, fleet.counts
    assert spread[-1] - spread[0] >= SPREAD


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.row("R28", mutant="fetchall")
def test_readers_who_come_back_from_far_get_all_and_hold_nobody_up(start_rig: StartRig) -> None:
    """Each from its own log's beginning, 10,000 events ago; what they read is 10 MB each."""
    rig = start_rig()
    late = rig.cast(parties=4, threads_each=1)
    for party in late:
        seed(rig.store, party, party.threads[0], [f"{number} {LONG[:800]}" for number in range(FAR)])
    with rig.load(streams=20) as ledger:
        ledger.goes_on(20)
        before = memory(rig.server)
        forget_peak(rig.server)
        with span() as catching_up, crowd(rig, late, 20) as fleet:
            until(lambda: fleet.delivered >= 20 * FAR, 100)
        grown = peak(rig.server) - before
    report = ledger.settle()
    report.check()
    took = catching_up.end - catching_up.start
    said = f"{fleet.delivered} events after {took:.1f} s, {grown / MB:.0f} MB more at most"
    rig.notes.append(f"{said}; live p99 {report.late(catching_up):.2f} s")
    assert [reader.pos for reader in fleet.readers] == [last(party) for party in late] * 5
    assert took <= generous(CAUGHT_UP)
    assert report.late(catching_up) <= generous(1.0)
    assert grown <= 2 * GROWTH


def last(party: Party) -> int:
    return int(party.cursor.rpartition(".")[2]) + FAR


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.row("R25", mutant="thread_per_stream")
def test_ten_thousand_idle_streams_are_held_and_heartbeats_reach_all(start_rig: StartRig) -> None:
    """Of the five minutes promised this holds as long as it takes everybody to hear a heartbeat."""
    rig = start_rig(workers=3)
    idle = rig.cast(parties=20, threads_each=1)
    with rig.load(streams=8, watchers=1) as ledger:
        ledger.goes_on(20)
        before = memory(rig.server)
        with span() as crowded, crowd(rig, idle, MANY, at_once=1500) as fleet:
            until(lambda: fleet.open == MANY, generous(60))
            opened, each = time.time() - crowded.start, (memory(rig.server) - before) / MANY
            pings = [reader.pings for reader in fleet.readers]
            gevent.sleep(LONGEST_PING)
            silent = [n for n, reader in enumerate(fleet.readers) if reader.pings == pings[n]]
            assert set(fleet.counts) == {"ready"}, fleet.counts
    report = ledger.settle()
    report.check()
    rig.notes.append(f"open after {opened:.1f} s, {each / 1000:.1f} kB each; {report.answers(crowded)}")
    assert silent == []
    assert each <= 60_000
    assert report.answers(crowded).p99 <= generous(OTHERS)
