"""Hours in minutes: many readers, webhooks, readers who come and go, and a fault every few seconds; then the account.

Every reader must have been given every event of its log, each once and in order; every acknowledged webhook must be
stored once; and nothing may grow.
"""

from __future__ import annotations

import gevent.monkey

gevent.monkey.patch_all()

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import astuple, dataclass
from pathlib import Path

import gevent
from gevent.event import Event as Flag
from redis import Redis

from bench.town import Town, quantile, town
from realtime import broker
from tests.server import children
from tests.until import until

CHURN = 5.0  # readers a second that hang up and come back
SAMPLE = 10.0  # seconds
GROWTH = 0.10
YOUTH = 1 / 6  # of the time, or five minutes of half an hour; after it no worker is replaced but the youngest


@dataclass
class Sample:
    """What the server holds: its processes' own memory (MB), files, and the broker's connections."""

    seconds: float
    memory: float
    files: int
    connections: int
    streams: int


def main() -> None:
    wanted = arguments()
    dice = random.Random(wanted.seed)
    print(f"seed {wanted.seed}", flush=True)
    with town(wanted.people, WORKERS=wanted.workers) as place:
        place.settle_in(wanted.streams)
        samples, over = [sample(place, 0.0)], Flag()
        with place.talking(wanted.rate):
            tasks = [gevent.spawn(task, place, dice, over, wanted) for task in (come_and_go, break_things)]
            tasks.append(gevent.spawn(watch, place, samples, over))
            gevent.sleep(wanted.seconds)
            over.set()
            gevent.joinall(tasks, raise_error=True)
        failed = account(place, samples, wanted)
    sys.exit(failed)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bin/bench soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1800, help="how long (%(default)s)")
    parser.add_argument("--streams", type=int, default=1000, help="open streams (%(default)s)")
    parser.add_argument("--people", type=int, default=40, help="people, each with a thread (%(default)s)")
    parser.add_argument("--rate", type=float, default=50, help="webhooks a second (%(default)s)")
    parser.add_argument("--every", type=float, default=20, help="seconds between faults (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="gunicorn workers (%(default)s)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the faults; random if not given")
    return parser.parse_args()


def come_and_go(place: Town, dice: random.Random, over: Flag, wanted: argparse.Namespace) -> None:
    while not over.wait(1 / CHURN):
        dice.choice(place.fleet.readers).cut()


# What is broken


def young_worker(place: Town) -> int:
    """The one that was started last: the other is to grow old, and to show it if it leaks."""
    return max(place.server.workers(), key=lambda pid: os.stat(f"/proc/{pid}").st_ctime_ns)


def kill_worker(place: Town, dice: random.Random) -> None:
    os.kill(young_worker(place), signal.SIGKILL)


def stop_worker(place: Town, dice: random.Random) -> None:
    os.kill(young_worker(place), signal.SIGTERM)


def reload_workers(place: Town, dice: random.Random) -> None:
    os.kill(place.server.pid, signal.SIGHUP)


def kill_broker(place: Town, dice: random.Random) -> None:
    os.kill(place.server.broker(), signal.SIGKILL)


def pause_broker(place: Town, dice: random.Random) -> None:
    paused = place.server.broker()
    os.kill(paused, signal.SIGSTOP)
    gevent.sleep(dice.uniform(2, 8))
    os.kill(paused, signal.SIGCONT)


def pause_worker(place: Town, dice: random.Random) -> None:
    paused = dice.choice(place.server.workers())
    os.kill(paused, signal.SIGSTOP)
    gevent.sleep(dice.uniform(1, 5))
    os.kill(paused, signal.SIGCONT)


def deafen(place: Town, dice: random.Random) -> None:
    with the_broker(place) as redis:
        redis.client_kill_filter(_type="pubsub")


def forget_all(place: Town, dice: random.Random) -> None:
    with the_broker(place) as redis:
        redis.flushall()


def cut_readers(place: Town, dice: random.Random) -> None:
    place.fleet.cut(dice.sample(place.fleet.readers, len(place.fleet.readers) // 3))


def lock_store(place: Town, dice: random.Random) -> None:
    """Hold the write lock in a process of its own, as a backup tool that goes wrong would."""
    hold = f"import sqlite3, time; c = sqlite3.connect({str(database(place))!r}, isolation_level=None)"
    hold += f"; c.execute('BEGIN IMMEDIATE'); time.sleep({dice.uniform(1, 4)})"
    subprocess.run([sys.executable, "-c", hold], check=False, stderr=subprocess.DEVNULL)


FAULTS = (
    *(kill_worker, stop_worker, kill_broker, pause_broker, pause_worker),
    *(deafen, forget_all, cut_readers, lock_store, reload_workers),
)


def break_things(place: Town, dice: random.Random, over: Flag, wanted: argparse.Namespace) -> None:
    youth = time.monotonic() + YOUTH * wanted.seconds
    while not over.wait(wanted.every):
        fault = dice.choice(FAULTS if time.monotonic() < youth else FAULTS[:-1])
        print(f"{time.strftime('%H:%M:%S')} {fault.__name__}", flush=True)
        fault(place, dice)


def the_broker(place: Town) -> Redis:
    return Redis(unix_socket_path=str(broker.socket_path(place.server.data_dir)), protocol=2)


def database(place: Town) -> Path:
    return place.server.data_dir / "backchannel.db"


# What is counted


def watch(place: Town, samples: list[Sample], over: Flag) -> None:
    start = time.monotonic()
    while not over.wait(SAMPLE):
        samples.append(sample(place, time.monotonic() - start))


def sample(place: Town, seconds: float) -> Sample:
    pids = family(place.server.pid)
    return Sample(seconds, sum(map(memory, pids)), sum(map(files, pids)), connections(place), place.fleet.open)


def family(pid: int) -> list[int]:
    return [pid, *(member for child in children(pid) for member in family(child))]


def memory(pid: int) -> float:
    """What is the process's own, MB: proc(5), smaps_rollup, Private_*."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def files(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def connections(place: Town) -> int:
    try:
        with the_broker(place) as redis:
            return int(redis.info("clients")["connected_clients"]) - 1
    except OSError:
        return 0


def account(place: Town, samples: list[Sample], wanted: argparse.Namespace) -> int:
    """Wait for everybody to be complete, print the account, and return 1 if something was lost or has grown."""
    fleet = place.fleet
    until(lambda: fleet.behind(place.heads()) == 0, 120)
    gevent.sleep(SAMPLE)
    samples.append(sample(place, wanted.seconds))
    acknowledged, stored = [resident.acknowledged for resident in place.residents], place.stored()
    lost, doubled = count(fleet.faults, "lost"), count(fleet.faults, "doubled")
    print(f"acknowledged {sum(acknowledged)}, stored {sum(stored)}")
    print(
        f"delivered to {len(fleet.readers)} readers: {fleet.delivered}, lost {lost}, doubled or out of order {doubled}"
    )
    print(f"readers: {dict(fleet.counts)}\nwebhooks: {dict(place.answers)}")
    for name, delays in (("webhook", place.delays(0)), ("to event", fleet.delays)):
        print(f"{name:9} ms, p50, p99, max: " + ", ".join(f"{quantile(delays, q):.0f}" for q in (0.5, 0.99, 1.0)))
    troubles = [*fleet.faults[:5], *(["reset"] if fleet.counts["reset"] else [])]
    troubles += ["stored is not what was acknowledged"] if stored != acknowledged else []
    troubles += growth(samples, wanted.seconds)
    print(f"troubles: {troubles}")
    return int(bool(troubles))


def count(faults: list[str], name: str) -> int:
    return sum(fault.startswith(name) for fault in faults)


def growth(samples: list[Sample], seconds: float) -> list[str]:
    """Say what has grown from a sixth of the way, or minute five of half an hour, to the end."""
    begin, width = YOUTH * seconds, min(60.0, seconds / 3)
    early = median_of([s for s in samples if begin <= s.seconds <= begin + width])
    late = median_of([s for s in samples if s.seconds >= seconds - width])
    for name, sampled in ((f"{begin / 60:.1f} min", early), ("the end", late)):
        print(f"{name:8} {sampled.memory:6.0f} MB, {sampled.files} files, {sampled.connections} broker connections")
    pairs = (("memory", early.memory, late.memory), ("files", early.files, late.files))
    pairs += (("broker connections", early.connections, late.connections),)
    return [f"more {name}" for name, before, after in pairs if after > (1 + GROWTH) * before]


def median_of(samples: list[Sample]) -> Sample:
    columns = [sorted(column) for column in zip(*map(astuple, samples), strict=True)]
    return Sample(*(column[len(column) // 2] for column in columns))


if __name__ == "__main__":
    main()
