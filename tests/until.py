"""Waiting for a state instead of sleeping."""

import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")

SHORTEST, LONGEST = 0.01, 0.25  # seconds between two questions
SHARE = 0.1  # of what was waited already: who waits for long need not know to the hundredth, and each question costs


def until(question: Callable[[], Answer], seconds: float = 10.0) -> Answer:
    """Ask until the answer is true, and return it; fails with the last answer after so many seconds."""
    began = time.monotonic()
    while not (answer := question()):
        waited = time.monotonic() - began
        assert waited < seconds, f"still {answer!r} after {seconds} s"
        time.sleep(min(max(SHORTEST, waited * SHARE), LONGEST))
    return answer
