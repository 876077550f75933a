"""Readers come and go in every way that readers do."""

from __future__ import annotations

import os
from contextlib import ExitStack

import pytest

from tests.live.faults import generous
from tests.live.faults.rig import Rig
from tests.live.reader import Reader
from tests.server import Server
from tests.until import until

FREED = 2.0  # seconds from a client's close until nothing of it is left
MANY = 500
FEW = 2


def open_files(server: Server) -> int:
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in server.workers())


@pytest.mark.row("R19", mutant="no_watcher")
def test_of_clients_that_close_nothing_is_left(whole_rig: Rig) -> None:
    """In logs where nothing is said: nothing is written that would meet the closed end."""
    quiet = whole_rig.cast(parties=4, threads_each=1)
    with whole_rig.load(webhooks=2, messages=1, streams=10) as ledger:
        ledger.goes_on(10)
        before = open_files(whole_rig.server)
        with ExitStack() as stack:
            for number in range(MANY):
                stack.enter_context(Reader(whole_rig.server.url, "/stream", quiet[number % 4].token)).wait("ready")
            assert open_files(whole_rig.server) >= before + MANY - FEW
        until(lambda: open_files(whole_rig.server) <= before + FEW, generous(FREED))
        ledger.goes_on(5)
    ledger.settle().check(at_least=15)


@pytest.mark.row("R23", mutant="subscribe_after_replay")
@pytest.mark.parametrize(
    ("clients", "rate", "seconds"),
    [pytest.param(60, 60, 8, marks=pytest.mark.quick), pytest.param(200, 150, 15, marks=pytest.mark.slow)],
)
def test_restless_readers_miss_and_see_nothing_twice(whole_rig: Rig, clients: int, rate: float, seconds: float) -> None:
    with whole_rig.load(
        parties=8, webhooks=rate, messages=0, streams=clients, watchers=1, stay=(0.5, 2), pause=(0, 0.2)
    ) as ledger:
        ledger.lasts(seconds)
    report = ledger.settle()
    report.check(at_least=100)
    visits = [len(watcher.named("ready")) for watcher in report.watchers if watcher.kind == "raw"]
    whole_rig.notes.append(f"{sum(visits)} visits")
    assert min(visits) >= 3
