"""All numbers of this process, for Prometheus. docs/operations.md says of each what it means and when to worry.

In a worker they are kept in files (metrics_files.py) and summed over all workers; elsewhere, as in a test, in memory.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import gevent
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector

from realtime.metrics_files import FOLDER, PLACE

REGISTRY = CollectorRegistry()
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
TICK = 0.05  # seconds
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)  # seconds

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
WEBHOOK_SECONDS = histogram("webhook_seconds", "From a webhook's arrival to its answer")

OUTBOX_WAITING = gauge("outbox_waiting", "Questions that no agent has accepted yet", over_workers="livemostrecent")
DISPATCHES = counter("dispatch_attempts", "Attempts to put a question to its agent", "outcome")
RUNS_ENDED = counter("runs_ended", "Runs that ended, as committed", "status")

STORE_IN_USE = gauge("store_in_use", "Database connections inside a transaction")
LOOP_LAG = histogram("event_loop_lag_seconds", "How late a timer of 50 ms fired: everything else waited as long")
LOOP_LAG_MAX = gauge(
    "event_loop_lag_max_seconds", "The latest it ever fired in a living worker", over_workers="livemax"
)


def exposition() -> bytes:
    """Everything counted, over all workers, in Prometheus' text format."""
    registry = REGISTRY
    if PLACE in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry, os.environ[FOLDER])  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def watch_loop(in_use: Callable[[], int]) -> None:
    """Measure for ever how late the loop is, and look at the store on the way."""
    worst = 0.0
    while True:
        due = time.monotonic() + TICK
        gevent.sleep(TICK)
        late = max(0.0, time.monotonic() - due)
        LOOP_LAG.observe(late)
        STORE_IN_USE.set(in_use())
        if late > worst:
            worst = late
            LOOP_LAG_MAX.set(worst)
