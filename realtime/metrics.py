"""All numbers of this process, for Prometheus. docs/operations.md says of each what it means and when to worry.

In a worker they are kept in files (metrics_files.py) and summed over all workers; elsewhere, as in a test, in memory.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import gevent
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector

from realtime.metrics_files import FOLDER, PLACE

logger = logging.getLogger(__name__)

REGISTRY = CollectorRegistry()
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
TICK = 0.05  # seconds
MINUTE = 60.0
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0)  # seconds

disable_created_metrics()  # type: ignore[no-untyped-call]
if PLACE in os.environ:  # before the first of them is made
    values.ValueClass = values.MultiProcessValue(lambda: os.environ[PLACE])  # type: ignore[no-untyped-call]


def counter(name: str, meaning: str, *labels: str) -> Counter:
    return Counter(f"backchannel_{name}", meaning, labels, registry=REGISTRY)


def gauge(name: str, meaning: str, *labels: str, over_workers: Any = "livesum") -> Gauge:
    return Gauge(f"backchannel_{name}", meaning, labels, registry=REGISTRY, multiprocess_mode=over_workers)


def histogram(name: str, meaning: str) -> Histogram:
    return Histogram(f"backchannel_{name}", meaning, registry=REGISTRY, buckets=BUCKETS)


REQUESTS = counter("requests", "Requests answered; a stream counts when it begins", "door", "status")
WEBHOOKS = counter("webhooks", "Webhook calls answered", "status")
WEBHOOK_SECONDS = histogram("webhook_seconds", "From the arrival of a webhook that is not streamed to its answer")

OUTBOX_WAITING = gauge("outbox_waiting", "Questions that no agent has accepted yet", over_workers="livemostrecent")
DISPATCHES = counter("dispatch_attempts", "Attempts to put a question to its agent", "outcome")
RUNS_ENDED = counter("runs_ended", "Runs that ended, as committed", "status")

STREAMS_OPEN = gauge("streams_open", "Open streams", "kind")
STREAMS_OPENED = counter("streams_opened", "Streams that were taken", "kind")
STREAMS_REFUSED = counter("streams_refused", "Streams that were told to come back later", "reason")
STREAMS_CLOSED = counter("streams_closed", "Streams that ended", "reason")
STREAMS_RESUMED = counter("streams_resumed", "Whether a stream could be continued where it was", "outcome", "cause")
OVERFLOWS = counter("overflows", "Streams that fell so far behind that they had to be read from the store")
COMMIT_TO_WRITE = histogram("commit_to_write_seconds", "From a commit to the first waiting stream of a worker")

HINTS_PUBLISHED = counter("hints_published", "Hints that the broker took")
HINTS_DROPPED = counter("hints_dropped", "Hints that it could not be given; the tick brings what they would have told")
HINTS_LOST = counter("hints_lost", "Events that no hint had told of in time", "found_by")
BROKER_RECONNECTS = counter("broker_reconnects", "Connections to the broker that were lost")
BROKER_PROBE_FAILURES = counter("broker_probe_failures", "Connections to the broker that were dead without saying so")

STORE_IN_USE = gauge("store_in_use", "Database connections inside a transaction")
LOOP_LAG = histogram("event_loop_lag_seconds", "How late a timer of 50 ms fired: everything else waited as long")
LOOP_LAG_MAX = gauge(
    "event_loop_lag_max_seconds", "The latest it fired within a minute, in any worker", over_workers="livemax"
)

# Known from the start: of what first appears as 1, Prometheus' increase() is 0, and no alarm goes off.
for cause in ("epoch", "future", "malformed", "pruned", "rewound", "too_far"):
    STREAMS_RESUMED.labels("reset", cause)
for found_by in ("ring", "tick"):
    HINTS_LOST.labels(found_by)
for status in ("timeout", "error"):
    RUNS_ENDED.labels(status)

Look = Callable[[], None]


def exposition() -> bytes:
    """Everything counted, over all workers, in Prometheus' text format."""
    registry = REGISTRY
    if PLACE in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry, os.environ[FOLDER])  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def shows(gauge: Gauge, number: Callable[[], float]) -> Look:
    """Let the gauge show, at every look, what the number is then."""
    return lambda: gauge.set(number())


def follows(counter: Counter, number: Callable[[], int]) -> Look:
    """Let the counter grow, at every look, by as much as the number has grown."""
    seen = 0

    def look() -> None:
        nonlocal seen
        seen, before = number(), seen
        if seen > before:
            counter.inc(seen - before)

    return look


def watch_loop(looks: Sequence[Look]) -> None:
    """Measure for ever how late the loop is, and look at other numbers on the way."""
    lags: deque[float] = deque(maxlen=round(MINUTE / TICK))
    while True:
        due = time.monotonic() + TICK
        gevent.sleep(TICK)
        lags.append(max(0.0, time.monotonic() - due))
        LOOP_LAG.observe(lags[-1])
        LOOP_LAG_MAX.set(max(lags))
        for look in looks:
            try:
                look()
            except Exception:
                logger.exception("a number cannot be told")
