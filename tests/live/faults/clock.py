"""The wall clock of a server, moved while it runs; its monotonic clock goes on as ever (libfaketime).

https://github.com/wolfcw/libfaketime
"""

from __future__ import annotations

import os
import time
from email.utils import parsedate_to_datetime
from glob import glob
from pathlib import Path

from tests.server import Server
from tests.until import until

LIBRARY = "/usr/lib/*/faketime/libfaketimeMT.so.1"  # where Debian keeps it: preloaded, never linked to
NEAR = 10.0  # seconds


class Clock:
    """`settings` are for the server to be started with; `ahead` is how much it is before the true time, in seconds."""

    def __init__(self, folder: Path, ahead: float = 0.0) -> None:
        self._path = folder / "clock"
        self.ahead = 0.0
        self._set(ahead)

    @property
    def settings(self) -> dict[str, object]:
        found = glob(LIBRARY)
        assert found, "there is no libfaketime; Debian, Ubuntu: apt install faketime"
        return {
            "LD_PRELOAD": found[0],
            "FAKETIME_TIMESTAMP_FILE": self._path,
            "FAKETIME_CACHE_DURATION": 1,  # second until a process looks at the file again
            "DONT_FAKE_MONOTONIC": 1,
            "NO_FAKE_STAT": 1,  # gunicorn keeps monotonic seconds in a file's time
        }

    def jump(self, seconds: float, server: Server) -> None:
        """Move the clock, and wait until the server answers by it."""
        self._set(self.ahead + seconds)
        until(lambda: abs(time_at(server) - time.time() - self.ahead) < NEAR)
        time.sleep(2)  # for all its processes

    def _set(self, ahead: float) -> None:
        self.ahead = ahead
        fresh = self._path.with_suffix(".new")
        fresh.write_text(f"{ahead:+.0f}\n")
        os.replace(fresh, self._path)


def time_at(server: Server) -> float:
    """What a worker takes for the time, in Unix seconds."""
    return parsedate_to_datetime(server.raw("GET", "/health/live", token=None)[1]["Date"]).timestamp()
