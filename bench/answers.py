"""Answers written word by word: what a streamed POST costs beside single ones, and how late words are under load."""

from __future__ import annotations

import gevent.monkey

gevent.monkey.patch_all()

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path

import gevent

from agents.client import Answer
from bench.latency import cpu
from bench.town import quantile
from tests.live.onlooker import Onlooker
from tests.live.people import Person, newcomer
from tests.server import ROOT, Server
from tests.until import until


def main() -> None:
    parser = argparse.ArgumentParser(prog="bin/bench answers", description=__doc__)
    parser.add_argument("--words", type=int, default=1000, help="words of the answer that is priced (%(default)s)")
    parser.add_argument("--answers", type=int, default=100, help="answers at once (%(default)s)")
    parser.add_argument("--rate", type=float, default=50, help="words a second of each (%(default)s)")
    parser.add_argument("--seconds", type=float, default=20, help="how long (%(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="gunicorn workers (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="comparisons, by turns; the median counts (%(default)s)")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        server = Server(Path(folder), WORKERS=wanted.workers, STREAMS_PER_USER=0)
        try:
            server.start()
            person = newcomer(server)
            compare(server, person, wanted.words, wanted.rounds)
            load(server, wanted)
        finally:
            server.stop()


# What it costs


def compare(server: Server, person: Person, words: int, rounds: int) -> None:
    spent: dict[str, list[float]] = {"one streamed POST": [], f"{words} POSTs": []}
    for _ in range(rounds):
        for name, write in zip(spent, (streamed, one_by_one), strict=True):
            spent[name].append(cost(server, person, write, words))
    medians = {name: sorted(seconds)[len(seconds) // 2] for name, seconds in spent.items()}
    for name, seconds in medians.items():
        print(f"{name:20} {1000 * seconds:8.0f} ms of CPU (workers and broker), one page watching")
    one, many = medians.values()
    print(f"{'':20} 1 : {many / one:.1f}\n")


def cost(server: Server, person: Person, write: Callable[[Server, str, list[str]], None], words: int) -> float:
    thread_id, said = person.new_thread(), [f"word{number} " for number in range(words)]
    with Onlooker(person, thread_id, "".join(said)) as onlooker:
        gevent.sleep(0.5)
        before = sum(cpu(server).values())
        write(server, thread_id, said)
        until(lambda: onlooker.is_whole, 60)
        return sum(cpu(server).values()) - before


def streamed(server: Server, thread_id: str, said: list[str]) -> None:
    with Answer(f"{server.url}/webhook/events", thread_id, thread_id, token=server.agent_token) as answer:
        for word in said:
            answer.token(word)
            gevent.sleep(0.005)


def one_by_one(server: Server, thread_id: str, said: list[str]) -> None:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
    headers = {"Authorization": f"Bearer {server.agent_token}"}
    events = [*({"type": "token", "text": word} for word in said), {"type": "done"}]
    for index, event in enumerate(events):
        body = {"thread_id": thread_id, "run_id": thread_id, "index": index, "events": [event]}
        connection.request("POST", "/webhook/events", json.dumps(body), headers)
        response = connection.getresponse()
        assert response.status == 200, response.read()
        response.read()
    connection.close()


# How late words are


def load(server: Server, wanted: argparse.Namespace) -> None:
    people = [newcomer(server) for _ in range(wanted.answers)]
    pairs = "".join(f"{person.new_thread()} {person.token}\n" for person in people)
    numbers = [str(wanted.rate), str(wanted.seconds)]
    command = [sys.executable, "-m", "bench.pairs", server.url, server.agent_token, *numbers]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as crowd:
        assert crowd.stdin
        assert crowd.stdout
        crowd.stdin.write(pairs)
        crowd.stdin.close()
        crowd.stdout.readline()
        before, began = cpu(server), time.monotonic()
        delays = json.loads(crowd.stdout.read())
        took, after = time.monotonic() - began, cpu(server)
    print(f"{wanted.answers} answers at {wanted.rate:.0f} words/s, {wanted.workers} workers, for {took:.1f} s:")
    print(f"{len(delays)} of {wanted.answers * int(wanted.rate * wanted.seconds)} words seen while they were written")
    figures = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    print("written to seen, ms: " + ", ".join(f"{name} {quantile(delays, q):.0f}" for name, q in figures.items()))
    print(", ".join(f"{name} {100 * (after[name] - before[name]) / took:.0f} % of a core" for name in after))


if __name__ == "__main__":
    main()
