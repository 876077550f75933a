"""The broker's machine vanishes, and the sentinels name another master."""

from __future__ import annotations

import pytest

from tests.brokers import sentinels
from tests.live.faults import generous
from tests.live.faults.conftest import StartRig
from tests.live.faults.report import span
from tests.until import until

GAP = 30.0  # seconds
FOLLOWED = 60.0  # seconds; here it is three


@pytest.mark.slow
@pytest.mark.row("R7", mutant="pinned_address")
def test_a_failover_costs_seconds_and_no_message(start_rig: StartRig) -> None:
    with sentinels() as guarded:
        rig = start_rig(REDIS_URL=guarded.url)
        workers = rig.server.workers()
        with rig.load() as ledger:
            ledger.goes_on()
            with span() as failover, guarded.master.paused():
                ledger.goes_on()
                until(lambda: guarded.named() == guarded.replica.port, 30)
                took = rig.wait_until_ready(FOLLOWED)
                ledger.goes_on()
            ledger.goes_on()
            rig.wait_until_ready(FOLLOWED)
        report = ledger.settle()
        report.check()
        rig.notes.append(f"failover: gap {report.gap(failover):.2f} s, followed after {took:.2f} s")
        assert report.gap() <= generous(GAP)
        assert rig.server.workers() == workers
        rig.server.stop()
