"""How long a webhook takes, and how long until readers see what it said: a real server, real HTTP, one small table."""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread

from bench.poster import Timed
from tests.server import ROOT, Server
from tests.until import until

PATIENCE = 30.0  # seconds for the last event
NUMBER = re.compile(rb'^data: .*"text":"measured (\d+)"')
TICKS = os.sysconf("SC_CLK_TCK")


class Reader:
    """One open stream in a thread of its own; notes when each numbered message came."""

    def __init__(self, server: Server) -> None:
        self._connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
        self._connection.request("GET", "/stream", headers={"Authorization": f"Bearer {server.token}"})
        self._response = self._connection.getresponse()
        assert self._response.status == 200
        self._response.readline()  # the first frame: from now on it is subscribed
        self.seen: dict[int, float] = {}
        Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._response:
            if found := NUMBER.search(line):
                self.seen[int(found[1])] = time.monotonic()


def main() -> None:
    wanted = arguments()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        server = Server(Path(folder), WORKERS=wanted.workers)
        try:
            measure(server.start(), wanted)
        finally:
            server.stop()


def arguments() -> argparse.Namespace:
    others = (
        "bin/bench storm and bin/bench soak measure what happens when much goes wrong; they have a --help of their own."
    )
    parser = argparse.ArgumentParser(prog="bin/bench", description=__doc__, epilog=others)
    parser.add_argument("--rate", type=float, default=100, help="webhooks a second (%(default)s)")
    parser.add_argument("--seconds", type=float, default=10, help="how long (%(default)s)")
    parser.add_argument("--readers", type=int, default=1, help="open streams, all told of every message (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="gunicorn workers (%(default)s)")
    return parser.parse_args()


def measure(server: Server, wanted: argparse.Namespace) -> None:
    thread_id = server.new_thread()
    readers = [Reader(server) for _ in range(wanted.readers)]
    post(server, thread_id, "warming", wanted.rate, 1)
    before = cpu(server)
    posts = post(server, thread_id, "measured", wanted.rate, wanted.seconds)
    taken = {number for number, (_, _, status) in posts.items() if status == 200}
    for reader in readers:
        until(lambda reader=reader: reader.seen.keys() == taken, PATIENCE)
    spent = {name: 1000 * (now - before[name]) / len(posts) for name, now in cpu(server).items()}
    report(wanted, posts, readers, spent)


def post(server: Server, thread_id: str, name: str, rate: float, seconds: float) -> dict[int, Timed]:
    """Post from a process of its own; return when each webhook began and ended, and its status."""
    argv = [
        sys.executable,
        "-m",
        "bench.poster",
        server.url,
        server.agent_token,
        thread_id,
        name,
        str(rate),
        str(seconds),
    ]
    done = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return {int(number): timed for number, timed in json.loads(done.stdout).items()}


def cpu(server: Server) -> dict[str, float]:
    """CPU seconds so far."""
    return {"workers": sum(map(used, server.workers())), "broker": used(server.broker())}


def used(pid: int) -> float:
    # proc(5): fields 14 and 15, utime and stime; the name before them may hold spaces.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def report(wanted: argparse.Namespace, posts: dict[int, Timed], readers: list[Reader], spent: dict[str, float]) -> None:
    began = [timed[0] for timed in posts.values()]
    rate = len(posts) / (max(timed[1] for timed in posts.values()) - min(began))
    refused = Counter(status for _, _, status in posts.values() if status != 200)
    print(f"{wanted.workers} workers, {wanted.readers} readers, {len(posts)} webhooks at {rate:.0f}/s; ms:")
    print("".join(f"{count} refused: HTTP {status}\n" for status, count in refused.items()))
    print(f"{'':16}{'p50':>8}{'p99':>8}{'max':>8}")
    row("webhook POST", (ended - start for start, ended, _ in posts.values()))
    row("POST to event", (at - posts[number][0] for reader in readers for number, at in reader.seen.items()))
    print(
        f"\nCPU per webhook {sum(spent.values()):8.2f}  ({', '.join(f'{name} {ms:.2f}' for name, ms in spent.items())})"
    )


def row(name: str, seconds: Iterable[float]) -> None:
    ms = sorted(1000 * value for value in seconds)
    p99 = ms[min(len(ms) - 1, int(len(ms) * 0.99))]
    print(f"{name:16}{statistics.median(ms):8.1f}{p99:8.1f}{ms[-1]:8.1f}")


if __name__ == "__main__":
    main()
