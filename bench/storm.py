"""A restart under many readers: how long until all are back and complete, and what webhooks take meanwhile."""

from __future__ import annotations

import gevent.monkey

gevent.monkey.patch_all()

import argparse
import os
import signal
import time

import gevent

from bench.town import Town, quantile, town
from tests.until import until


def main() -> None:
    parser = argparse.ArgumentParser(prog="bin/bench storm", description=__doc__)
    parser.add_argument("--streams", type=int, default=2000, help="open streams (%(default)s)")
    parser.add_argument("--people", type=int, default=20, help="people, each with a thread (%(default)s)")
    parser.add_argument("--rate", type=float, default=20, help="webhooks a second (%(default)s)")
    parser.add_argument("--kill", action="store_true", help="kill the workers, instead of a stop and a start")
    parser.add_argument("--workers", type=int, default=2, help="gunicorn workers (%(default)s)")
    wanted = parser.parse_args()
    with town(wanted.people, WORKERS=wanted.workers) as place:
        place.settle_in(wanted.streams)
        with place.talking(wanted.rate):
            start = time.monotonic()
            gevent.sleep(3)
            calm = place.delays(start)
            began = disturb(place, wanted.kill)
            back = measure(place, began)
        until(lambda: place.fleet.behind(place.heads()) == 0, 60)
        report(place, calm, place.delays(began, began + back[1]), back)


def disturb(place: Town, kill: bool) -> float:
    """Return when clients may come back."""
    if kill:
        for pid in place.server.workers():
            os.kill(pid, signal.SIGKILL)
        until(lambda: place.fleet.open == 0, 30)
        return time.monotonic()
    place.server.stop()
    place.server.start()
    return time.monotonic()


def measure(place: Town, began: float) -> list[float]:
    """Wait until every reader is open again; return when 95 %, and when all of them were, seconds."""
    total, back = len(place.fleet.readers), []
    for share in (0.95, 1.0):
        until(lambda share=share: place.fleet.open >= share * total, 120)
        back.append(time.monotonic() - began)
    gevent.sleep(3)
    return back


def report(place: Town, calm: list[float], during: list[float], back: list[float]) -> None:
    acknowledged, stored = sum(r.acknowledged for r in place.residents), sum(place.stored())
    print(f"{len(place.fleet.readers)} streams back: 95 % after {back[0]:.1f} s, all after {back[1]:.1f} s")
    print(f"webhooks, ms: {'':10}p50{'p99':>9}{'max':>9}")
    for name, delays in (("before", calm), ("meanwhile", during)):
        print(f"{name:14}" + "".join(f"{quantile(delays, q):9.0f}" for q in (0.5, 0.99, 1.0)))
    print(f"acknowledged {acknowledged}, stored {stored}; events {place.fleet.delivered}; {dict(place.fleet.counts)}")
    print(f"answers {dict(place.answers)}")
    print(f"faults: {len(place.fleet.faults)} {place.fleet.faults[:5]}")


if __name__ == "__main__":
    main()
