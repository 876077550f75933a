"""The fault rig: breaks a real server under load, and holds it to what it acknowledged (README.md tells how)."""

import os
import random

SEED = int(os.environ.get("FAULT_SEED") or random.randrange(10**6))  # of the whole run
SLACK = float(os.environ.get("FAULT_SLACK") or 5)  # times the promised figure: machines of tests are slow
# The share that "all" may be here: a starved store says 503 and is asked again.
MOST = 1.0 if SLACK == 1 else 1 - 0.01 * SLACK


def generous(figure: float) -> float:
    """How much of a promised figure is allowed here; FAULT_SLACK=1 holds to the promise itself."""
    return figure * SLACK
