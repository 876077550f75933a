"""The rig itself: with nothing broken, nothing is lost, and every kind of client hears everything."""

from __future__ import annotations

import pytest

from tests.live.faults.rig import Rig
from tests.live.faults.watchers import OUTSIDE

pytestmark = pytest.mark.quick  # nothing is broken here: `bin/test faults` is for what is


def test_when_nothing_breaks_every_client_hears_everything(whole_rig: Rig) -> None:
    with whole_rig.load() as ledger:
        ledger.goes_on(100)
    report = ledger.settle()
    report.check(at_least=100)
    assert {watcher.kind for watcher in report.watchers} == {*OUTSIDE, "raw"}
    assert all(sum(map(len, watcher.shown.values())) > 0 for watcher in report.watchers)
