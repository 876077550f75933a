"""One minute of what `bin/bench soak` does for half an hour: many readers, fault after fault, and the account."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.live.faults import SEED
from tests.server import ROOT

ORDER = {"seconds": 60, "streams": 100, "people": 10, "rate": 10, "every": 8, "seed": SEED}


@pytest.mark.quick
@pytest.mark.timeout(600)  # seconds, on machines that have other things to do
def test_a_minute_of_faults_loses_and_doubles_nothing_and_nothing_grows() -> None:
    options = [word for name, value in ORDER.items() for word in (f"--{name}", str(value))]
    soak = subprocess.run([sys.executable, "-m", "bench.soak", *options], cwd=ROOT, capture_output=True, text=True)
    print(soak.stdout, soak.stderr)
    assert soak.returncode == 0
    assert "troubles: []" in soak.stdout
