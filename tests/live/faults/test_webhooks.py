"""Agents say the same thing again, by a hundred at once or days later: it is stored once, and answered alike."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import gevent
import pytest

from tests.live.faults.clock import Clock
from tests.live.faults.conftest import StartRig
from tests.live.faults.load import Request, wire
from tests.live.faults.rig import Rig
from tests.until import until

HOUR = 3600.0  # seconds
FOUR_DAYS = 4 * 24 * HOUR


@pytest.mark.row("R20", mutant="check_then_insert")
@pytest.mark.parametrize("times", [20, pytest.param(100, marks=pytest.mark.slow)])
def test_a_webhook_that_comes_many_times_is_stored_once(start_rig: StartRig, tmp_path: Path, times: int) -> None:
    clock = Clock(tmp_path)
    rig = start_rig(tweaks=["eager_pruner"], RETENTION_DAYS=1, **clock.settings)
    with rig.load(webhooks=3, messages=1, streams=8, kinds=()) as ledger:
        party = ledger.load.cast[0]
        said = Request(party, party.threads[0], "webhook", "the key", "said many times")
        first = send_at_once(rig, said, times)
        for later in (HOUR, FOUR_DAYS - HOUR):
            clock.jump(later, rig.server)
            assert send_at_once(rig, said, 5) == first
        assert len(first) == 1
        other = replace(said, text="something else")
        assert until(lambda: refused(rig, other), 60) == (409, "key_reused")
        [said.answer] = first
        said.acknowledged = time.time()
        ledger.load.requests.append(said)
        ledger.goes_on(10)
    report = ledger.settle()
    report.check(at_least=30)


def send_at_once(rig: Rig, request: Request, times: int) -> set[bytes]:
    """Send it so many times in parallel, each until it is taken; return the different answers."""
    tasks = [gevent.spawn(until, lambda: taken(rig, request), 120) for _ in range(times)]
    return {task.get() for task in tasks}


def taken(rig: Rig, request: Request) -> bytes | None:
    status, content = send(rig, request)
    assert status in (200, 503), content
    if status == 503:
        gevent.sleep(rig.luck.uniform(0.5, 1.5))  # as it was told to: a hundred who insist keep the server refusing
    return content if status == 200 else None


def refused(rig: Rig, request: Request) -> tuple[int, str] | None:
    status, content = send(rig, request)
    return None if status == 503 else (status, json.loads(content)["error"]["code"])


def send(rig: Rig, request: Request) -> tuple[int, bytes]:
    path, body, headers = wire(request)
    status, _, content = rig.server.raw("POST", path, body, None, headers)
    return status, content
