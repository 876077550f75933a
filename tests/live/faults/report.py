"""What came of a load: the oracle's verdict, and how long everything took."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.live.faults.load import Attempt, Request
from tests.live.faults.oracle import Shown, Threads, Verdict
from tests.live.faults.watchers import Watcher

SHOWN = 20  # lines of a bad verdict


@dataclass
class Span:
    """A stretch of time, in Unix seconds."""

    start: float = field(default_factory=time.time)
    end: float = math.inf

    def __contains__(self, at: float) -> bool:
        return self.start <= at <= self.end


ALWAYS = Span(0.0)


@contextmanager
def span() -> Iterator[Span]:
    """The time that the block takes: `with span() as down: ...`, then `report.gap(down)`."""
    found = Span()
    try:
        yield found
    finally:
        found.end = time.time()


@dataclass(frozen=True)
class Answers:
    """How webhooks were answered: seconds, and how many by each status, or error if there was no answer."""

    seconds: Sequence[float]
    statuses: Counter[int | str]

    def quantile(self, q: float) -> float:
        assert self.seconds, "no webhook was answered in that time"
        return self.seconds[min(len(self.seconds) - 1, int(q * len(self.seconds)))]

    def share(self, status: int) -> float:
        """Which part of all answers had this status, from 0 to 1."""
        return self.statuses[status] / len(self.seconds)

    @property
    def p50(self) -> float:
        return self.quantile(0.5)

    @property
    def p99(self) -> float:
        return self.quantile(0.99)

    @property
    def max(self) -> float:
        return self.quantile(1)

    def __str__(self) -> str:
        return f"{dict(self.statuses)}, p50 {self.p50:.3f} s, p99 {self.p99:.3f} s, max {self.max:.3f} s"


@dataclass
class Report:
    verdict: Verdict
    requests: list[Request]
    watchers: list[Watcher]
    stored: Threads

    def check(self, at_least: int = 50) -> None:
        """What every row promises: nothing lost, inverted, doubled or foreign; and that this was no empty exercise."""
        assert not self.verdict.lines, "\n".join([str(self), *self.verdict.lines[:SHOWN]])
        assert not self.unacknowledged, f"{self}\nnever acknowledged: {self.unacknowledged[0]}"
        assert len(self.acknowledged) >= at_least, self

    @property
    def acknowledged(self) -> list[Request]:
        return [request for request in self.requests if request.acknowledged is not None]

    @property
    def unacknowledged(self) -> list[Request]:
        return [request for request in self.requests if request.acknowledged is None]

    def attempts(self, during: Span = ALWAYS, kind: str = "webhook") -> list[Attempt]:
        """Every try that was begun in that time, of every request of that kind."""
        tries = (attempt for request in self.requests if request.kind == kind for attempt in request.attempts)
        return [attempt for attempt in tries if attempt.at in during]

    def answers(self, during: Span = ALWAYS) -> Answers:
        """How webhooks sent in that time were answered."""
        attempts = self.attempts(during)
        return Answers(sorted(a.seconds for a in attempts), Counter(a.error or a.status for a in attempts))

    @property
    def cut_off(self) -> dict[str, list[dict[str, Any]]]:
        """Who lost a stream, and how: ideally nobody."""
        return {watcher.name: watcher.losses for watcher in self.watchers if watcher.losses}

    def gap(self, during: Span = ALWAYS, kinds: Collection[str] = ()) -> float:
        """The longest time, in seconds, from the 2xx of something said in that time until a watcher had heard it."""
        return max(self._gaps(during, kinds), default=0.0)

    def late(self, during: Span = ALWAYS, q: float = 0.99) -> float:
        """How late this part of all that was heard was, at most, in seconds."""
        gaps = sorted(self._gaps(during, ()))
        return gaps[min(len(gaps) - 1, int(q * len(gaps)))] if gaps else 0.0

    def _gaps(self, during: Span, kinds: Collection[str]) -> Iterator[float]:
        ids = {text: (id, text) for rows in self.stored.values() for id, text in rows}
        for request in self.acknowledged:
            if request.acknowledged not in during or request.text not in ids:
                continue
            for watcher in self.watchers:
                if request.thread in watcher.threads and (not kinds or watcher.kind in kinds):
                    yield heard_after(watcher, ids[request.text], request)

    def __str__(self) -> str:
        wrong = ", ".join(f"{len(lines)} {name}" for name, lines in vars(self.verdict).items())
        said = f"{len(self.acknowledged)} acknowledged, {wrong}, {len(self.unacknowledged)} given up"
        return f"{said}; worst gap {self.gap():.2f} s; webhooks {self.answers()}; {len(self.watchers)} watchers"


def heard_after(watcher: Watcher, shown: Shown, request: Request) -> float:
    """Seconds; 0 if it was heard before the 2xx came. What was never heard is the verdict's matter."""
    assert request.acknowledged is not None
    return max(0.0, watcher.heard_at.get(shown, request.acknowledged) - request.acknowledged)
