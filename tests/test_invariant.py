"""Whatever is dropped, doubled, late or cut: an old snapshot and the events delivered since are a fresh snapshot."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time_ns
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from realtime import hub as hub_module
from realtime import stream as stream_module
from realtime import tail as tail_module
from tests.upheaval.machine import Clock, Upheaval
from tests.upheaval.scripts import Scripts
from tests.upheaval.world import begin

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # nothing here is about what a disk keeps

# `HYPOTHESIS_PROFILE=long` looks for what the quick run, always the same, has not met, and makes what it finds small.
PROFILES = {
    "quick": {"max_examples": 30, "derandomize": True, "database": None, "phases": [Phase.generate]},
    "long": {"max_examples": 500},
}
PROFILE = settings(
    stateful_step_count=40,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
    **PROFILES[os.environ.get("HYPOTHESIS_PROFILE", "quick")],
)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Small pages, short memories and a clock of the test's own, so that every corner is near."""
    clock = Clock()
    for module, name, value in (
        (stream_module, "time", SimpleNamespace(monotonic=clock.monotonic, time_ns=time_ns)),
        (stream_module, "FARTHEST", 25),
        (tail_module, "PAGE", 3),
        (tail_module, "RECENT", 4),
        (hub_module, "CONFIRM", 0.0),
        (hub_module, "LINGER", 0.0),
    ):
        monkeypatch.setattr(module, name, value)
    return clock


@pytest.mark.timeout(0)
def test_an_old_snapshot_and_the_events_since_are_a_fresh_snapshot(clock: Clock) -> None:
    with TemporaryDirectory(dir=MEMORY) as folder, Scripts() as scripts:
        beginning = begin(Path(folder))
        run_state_machine_as_test(lambda: Upheaval(beginning, scripts, clock), settings=PROFILE)
