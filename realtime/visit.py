"""What is told of one stream, in numbers and in the log: when it came, could it be continued, when it went and why."""

from __future__ import annotations

import logging
import time
from types import TracebackType

import logs
from realtime import clock, metrics
from realtime.event import Event
from realtime.peer import STALLED

logger = logging.getLogger(__name__)


class Visit:
    """Lasts as long as its `with` block; whoever ends the stream sets `end`. `kind` is everything or thread."""

    def __init__(self, kind: str, conn: str) -> None:
        self.end = ""
        self._kind = kind
        self._level = logging.DEBUG if kind == "poll" else logging.INFO  # there are several a second
        self._conn = conn
        self._frames = 0
        self._began = self._handed = self._caught_up = time.monotonic()
        self._is_live = False

    def __enter__(self) -> Visit:
        logs.about(stream=self._conn)
        metrics.STREAMS_OPEN.labels(self._kind).inc()
        metrics.STREAMS_OPENED.labels(self._kind).inc()
        logger.log(self._level, "a stream of %s opens", self._kind)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        now = time.monotonic()
        if kind is GeneratorExit:  # it was closed while somebody wrote what it had handed over
            self.end = "stalled" if now - self._handed >= STALLED else "broken"
        elif kind is not None:
            self.end = "broken"
        metrics.STREAMS_OPEN.labels(self._kind).dec()
        metrics.STREAMS_CLOSED.labels(self.end).inc()
        seconds = round(now - self._began, 1)
        facts = {"kind": self._kind, "end": self.end, "seconds": seconds, "frames": self._frames}
        said = "a stream of %s ends (%s) after %.1f s and %d frames"
        logger.log(self._level, said, self._kind, self.end, seconds, self._frames, extra={"facts": facts})

    def joins(self, was_shown: bool, is_behind: bool) -> None:
        """Its cursor can be continued, or it had none; one that cannot `is_reset`."""
        outcome = "fresh" if not was_shown else "replayed" if is_behind else "caught_up"
        metrics.STREAMS_RESUMED.labels(outcome, "").inc()

    def is_reset(self, cause: str) -> None:
        metrics.STREAMS_RESUMED.labels("reset", cause).inc()

    def catches_up(self) -> None:
        """It has all that there is, and waits."""
        self._caught_up, self._is_live = time.monotonic(), True

    def reads_on(self) -> None:
        """It must read in the store what it was too slow for, unless it has just come."""
        if self._is_live:
            metrics.OVERFLOWS.inc()
        self._is_live = False

    def hands_over(self, piece: bytes) -> bytes:
        self._frames += piece.count(b"\n\n")
        self._handed = time.monotonic()
        return piece

    def passes_on(self, event: Event) -> None:
        """Time an event that it waited for, once in each worker: at every reader it would cost too much."""
        if event.at:
            began, event.at = clock.moment(event.at), ""
            if began is not None and began >= self._caught_up:
                metrics.COMMIT_TO_WRITE.observe(time.monotonic() - began)
