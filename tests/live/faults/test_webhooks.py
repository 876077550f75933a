"""Agents say the same thing again, by a hundred at once or days later: it is stored once, and answered alike."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import gevent
import pytest
from sqlalchemy import update

from chat.models import Base
from chat.store import Store
from tests.live.faults.conftest import StartRig
from tests.live.faults.load import Request, wire
from tests.live.faults.rig import Rig
from tests.until import until

HOUR = 3_600_000  # milliseconds
FOUR_DAYS = 4 * 24 * HOUR


@pytest.mark.row("R20", mutant="check_then_insert")
def test_a_webhook_that_comes_a_hundred_times_is_stored_once(start_rig: StartRig) -> None:
    rig = start_rig(tweaks=["eager_pruner"], RETENTION_DAYS=1)
    with rig.load(webhooks=3, messages=1, streams=8, kinds=()) as ledger:
        party = ledger.load.cast[0]
        said = Request(party, party.threads[0], "webhook", "the key", "said many times")
        first = send_at_once(rig, said, 100)
        for later in (HOUR, FOUR_DAYS - HOUR):
            age(rig.store, later)
            gevent.sleep(3)  # for the pruner
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


def age(store: Store, ms: int) -> None:
    """Let all that is stored be older by so much. Under libfaketime a busy server would be ten times slower."""
    for table in Base.metadata.sorted_tables:
        if "created_at" in table.columns:
            store.write(lambda s, table=table: s.execute(update(table).values(created_at=table.c.created_at - ms)))


def send_at_once(rig: Rig, request: Request, times: int) -> set[bytes]:
    """Send it so many times in parallel, each until it is taken; return the different answers."""
    tasks = [gevent.spawn(until, lambda: taken(rig, request), 120) for _ in range(times)]
    return {task.get() for task in tasks}


def taken(rig: Rig, request: Request) -> bytes | None:
    status, content = send(rig, request)
    assert status in (200, 503), content
    if status == 503:
        gevent.sleep(rig.luck.uniform(0.5, 1.5))  # as it was told to
    return content if status == 200 else None


def refused(rig: Rig, request: Request) -> tuple[int, str] | None:
    status, content = send(rig, request)
    return None if status == 503 else (status, json.loads(content)["error"]["code"])


def send(rig: Rig, request: Request) -> tuple[int, bytes]:
    path, body, headers = wire(request)
    status, _, content = rig.server.raw("POST", path, body, None, headers)
    return status, content
