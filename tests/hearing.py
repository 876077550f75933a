"""A bus that runs as long as a test wants, and what it has heard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import gevent
import pytest
from gevent.pool import Group

from realtime.bus import Bus
from realtime.event import Event
from tests.until import until


class Heard:
    """A bus, and what it has heard."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.rings: list[tuple[str, str, int, bytes]] = []
        self.kicks: list[str] = []
        self.gaps = 0
        bus.on_ring, bus.on_kick, bus.on_gap = self.ring, self.kicks.append, self.gap

    def ring(self, log: str, epoch: str, event: Event) -> None:
        self.rings.append((log, epoch, event.seq, bytes(event.data)))

    def gap(self) -> None:
        self.gaps += 1

    @property
    def seqs(self) -> list[int]:
        return [seq for _, _, seq, _ in self.rings]

    @property
    def logs(self) -> set[str]:
        return {log for log, *_ in self.rings}


@contextmanager
def started(url: str, prefix: str = "") -> Iterator[Heard]:
    """A bus that runs until the test is over."""
    tasks, heard = Group(), Heard(Bus(url, prefix))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gevent, "spawn", tasks.spawn)  # a bus lives as long as its worker, so it has no stop of its own
        heard.bus.start()
    try:
        until(lambda: heard.bus.healthy and heard.gaps)  # who begins to hear is told of a gap, a moment later
        yield heard
    finally:
        tasks.kill()
