"""Everything that may happen, in any order, and what must be true whenever it has come to rest."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.upheaval.client import Client, Page
from tests.upheaval.mirror import differing
from tests.upheaval.scripts import Scripts
from tests.upheaval.world import WORKERS, World

LATER = 30.0  # seconds: a ping is due
MUCH_LATER = 700.0  # seconds: a stream has lived its life
MANY = 6  # readers
LOOKS = 2  # of a worker after which it has heard of everything
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # nothing here is about what a disk keeps
ROUNDS = 50  # after which all should be quiet

TALK = ("say", "reply", "reply", "edit", "take_back", "mark_read", "retry")
ALL = 1_000_000  # bytes
some = st.integers(0, 7)
whom = st.none() | some
sizes = st.integers(0, 1_500) | st.just(ALL)
worker = st.integers(0, WORKERS - 1)


class Clock:
    """Stands still until the test says otherwise."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


class Upheaval(RuleBasedStateMachine):
    """Alice's log, two workers, and readers of every kind. Numbers name one of those there are."""

    def __init__(self, template: SimpleNamespace, scripts: Scripts, clock: Clock) -> None:
        super().__init__()
        self.scripts, self.clock = scripts, clock
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY)
        self.world = World(template, Path(self.folder.name))
        self.clients: list[Client] = []
        self.held = 0  # steps for which the store does not answer

    @initialize()
    def begin(self) -> None:
        self.world.open_thread("A thread")
        self.world.open_thread(None)
        self.come("page", 0, 0)
        self.come("plain", 0, 1)
        self.come("thread", 1, 1)

    # What happens

    @rule(said=st.lists(st.tuples(some, some, st.sampled_from(TALK)), min_size=1, max_size=4))
    def talk(self, said: list[tuple[int, int, str]]) -> None:
        for n, m, act in said:
            for thread_id in self.one_of(self.world.thread_ids(), n):
                getattr(self.world, act)(thread_id, m)

    @rule(n=some, m=some, status=st.sampled_from(["running", "success", "error"]), own=st.booleans())
    def answer(self, n: int, m: int, status: str, own: bool) -> None:
        for thread_id in self.one_of(self.world.thread_ids(), n):
            runs = [f"own-{m}-{thread_id}"] if own else self.world.run_ids(thread_id)
            for run_id in self.one_of(runs, m):
                self.world.answer(thread_id, run_id, status)

    @rule(n=some, act=st.sampled_from(["open_titled", "open_untitled", "delete_thread"]))
    def open_or_delete(self, n: int, act: str) -> None:
        if act != "delete_thread":
            self.world.open_thread("A thread" if act == "open_titled" else None)
        else:
            for thread_id in self.one_of(self.world.thread_ids(), n):
                self.world.delete_thread(thread_id)

    # What is done to the log and to its workers

    @rule(share=st.sampled_from([0.3, 0.7, 1.0]))
    def prune(self, share: float) -> None:
        self.world.prune(share)

    @rule(act=st.sampled_from(["save", "rotate", "rotate", "restore", "restore_slowly"]))
    def keep_or_restore(self, act: str) -> None:
        """After a restore the operator rotates the epochs before anything is written; workers may look before."""
        getattr(self.world, act.removesuffix("_slowly"))()
        if act == "restore_slowly":
            self.look()
        if act != "save":
            self.world.rotate()

    @rule(worker=worker)
    def replace_worker(self, worker: int) -> None:
        for client in self.connected:
            if client.worker == worker:
                client.cut()
        self.world.replace(worker)

    @rule(steps=st.integers(1, 4))
    def hold_answers(self, steps: int) -> None:
        """Reads of the store take their time, and are of before whatever happens meanwhile."""
        self.world.may_answer.clear()
        self.held = steps

    @rule(seconds=st.sampled_from([LATER, MUCH_LATER]))
    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        for client in self.connected:
            client.wake()

    # What becomes of the hints

    @precondition(lambda self: self.world.hints)
    @rule(which=st.lists(some, min_size=1, max_size=6))
    def deliver(self, which: list[int]) -> None:
        """Any of them, so also before an earlier one, and another time later."""
        for n in which:
            self.world.deliver(self.world.hints[n % len(self.world.hints)])

    @precondition(lambda self: self.world.hints)
    @rule(share=some)
    def drop(self, share: int) -> None:
        del self.world.hints[share::2]

    @precondition(lambda self: self.world.hints)
    @rule()
    def deliver_all(self) -> None:
        while self.world.hints:
            self.world.deliver(self.world.hints.pop(0))

    @rule(worker=worker)
    def tick(self, worker: int) -> None:
        self.world.tick(worker)

    # What readers do

    @precondition(lambda self: len(self.clients) < MANY)
    @rule(kind=st.sampled_from(["page", "page", "plain", "thread"]), n=some, worker=worker)
    def come(self, kind: str, n: int, worker: int) -> None:
        thread_id = next(self.one_of(self.world.thread_ids(), n), None)
        one = thread_id if kind == "thread" else None
        client = Page(self.world, thread_id) if kind == "page" else Client(self.world, one)
        client.connect(worker)
        self.clients.append(client)

    @rule(whom=whom, size=sizes, worker=worker)
    def read(self, whom: int | None, size: int, worker: int) -> None:
        """Who was away comes back for it."""
        for client in self.of(self.clients, whom):
            client.connect(worker)
            self.settle()
            client.read(size)

    @precondition(lambda self: self.connected)
    @rule(whom=whom, size=sizes)
    def read_and_cut(self, whom: int | None, size: int) -> None:
        for client in self.of(self.connected, whom):
            client.read(size)
            client.cut()

    @precondition(lambda self: self.stale)
    @rule(whom=whom, fails=st.booleans())
    def fetch(self, whom: int | None, fails: bool) -> None:
        for client in self.of(self.stale, whom):
            client.fail() if fails else client.fetch()

    @property
    def connected(self) -> list[Client]:
        return [client for client in self.clients if client.line]

    @property
    def stale(self) -> list[Client]:
        return [client for client in self.clients if client.is_stale]

    def of(self, clients: list[Client], whom: int | None) -> list[Client]:
        """The one that the number names, or all of them."""
        return clients if whom is None else list(self.one_of(clients, whom))

    @invariant()
    def settle(self) -> None:
        """Let happen what follows from it; a wait of no seconds takes another round of the loop."""
        for _ in range(3):
            gevent.idle()

    @invariant()
    def answer_in_the_end(self) -> None:
        self.held -= 1
        if self.held <= 0:
            self.world.may_answer.set()

    # The invariant

    @rule()
    def come_to_rest(self) -> None:
        self.world.may_answer.set()
        for _ in range(LOOKS):  # the first may only end a look that has been waiting for its answer
            self.look()
        for _ in range(ROUNDS):
            if not [client for client in self.clients if self.goes_on(client)]:
                break
            self.look()
        else:
            raise AssertionError("it never comes to rest")
        for client in self.clients:
            assert differing(client.seen, client.fresh) == []
            if isinstance(client, Page):
                client.steps.append(("same", client.state()))

    def look(self) -> None:
        for n in range(WORKERS):
            self.world.tick(n)
        self.settle()

    def goes_on(self, client: Client) -> bool:
        """Let it do what it would do by itself; was there anything to do?"""
        if client.is_stale:
            client.fetch()
        elif client.line is None:
            client.connect(0)
        elif client.line.waiting or client.line.is_over:
            client.read(client.line.waiting)
        else:
            return False
        return True

    def teardown(self) -> None:
        try:
            self.come_to_rest()
            for client in self.clients:
                if isinstance(client, Page):
                    self.scripts.replay(client.steps)
        finally:
            for client in self.clients:
                client.cut()
            self.settle()
            self.folder.cleanup()

    @staticmethod
    def one_of(things: list[Any], n: int) -> Iterator[Any]:
        """The one that the number names, or none where there are none."""
        return iter([things[n % len(things)]] if things else [])
