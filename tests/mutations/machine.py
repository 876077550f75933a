"""Mutants of what a worker expects of its machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from tests.mutations import mutant, replace


@mutant
def wall_clock_for_timeouts() -> None:
    """R30: heartbeats and the ends of streams are due by the time of day."""
    import time
    from types import SimpleNamespace

    from realtime import stream

    replace(stream, "time", SimpleNamespace(monotonic=time.time, time_ns=time.time_ns))


@mutant
def log_failure_is_a_crash() -> None:
    """R31: a worker whose log takes no more ends."""
    from logs import Lines

    replace(Lines, "handleError", lambda self, record: os._exit(1))


@mutant
def no_cap_of_files() -> None:
    """R32: streams are taken as if there were no end of files."""
    import app

    replace(app, "most_streams", lambda wanted: wanted)


@mutant
def sleep_that_blocks() -> None:
    """R12: something in a request sleeps as if there were no loop."""
    from itertools import count

    from gevent import monkey

    from chat.store import Store

    sleep, numbers = monkey.get_original("time", "sleep"), count(1)
    before = Store.write

    def write(self: Any, work: Callable[[Any], Any]) -> Any:
        if next(numbers) % 20 == 0:
            sleep(1.5)
        return before(self, work)

    replace(Store, "write", write)
