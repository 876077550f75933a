"""Everything that may happen, in any order, and what must be true whenever it has come to rest."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from types import SimpleNamespace
from typing import Any

import gevent
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.upheaval.client import Client, Page, only
from tests.upheaval.mirror import differing
from tests.upheaval.scripts import Scripts
from tests.upheaval.world import WORKERS, World

LATER = 30.0  # seconds: a ping is due
MUCH_LATER = 700.0  # seconds: a stream has lived its life
MANY = 6  # readers
LOOKS = 2  # of a worker after which it has heard of everything
ROUNDS = 50  # after which all should be quiet

UPSETS = ("prune 0.5", "prune 1.0", "prune 1.0", "save", "rotate", "restore", "restore")
ACTS = (
    *("say", "say", "reply", "reply", "reply", "edit", "edit", "take_back", "mark_read", "retry"),
    *("answer", "answer", "begin_of_its_own", "rename", "rename", "open_another", "delete_thread"),
    *("put", "put", "write", "write", "stop", "regenerate", "regenerate", "show", "show", "say_otherwise"),
    *("withdraw", "send_now", "judge"),
)
ALL = 1_000_000  # bytes
some = st.integers(0, 7)
whom = st.sampled_from([None, *range(6)])  # one of them, or all
sizes = st.integers(0, 1_500) | st.just(ALL)
worker = st.integers(0, WORKERS - 1)

Said = tuple[int, int, str]  # in which thread, which of what is there, what is done
TALK = st.tuples(some, some, st.sampled_from(ACTS))
meanwhile = st.lists(TALK, max_size=2)


class Clock:
    """Stands still until the test says otherwise."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


class Upheaval(RuleBasedStateMachine):
    """Alice's log, two workers, and readers of every kind. A number names one of those there are, if any."""

    def __init__(self, beginning: SimpleNamespace, scripts: Scripts, clock: Clock) -> None:
        super().__init__()
        self.scripts, self.clock = scripts, clock
        self.world = World(beginning)
        self.clients: list[Client] = []
        self.held = 0  # steps for which the store does not answer

    @initialize()
    def begin(self) -> None:
        self.world.open_thread("A thread")
        self.world.open_thread(None)
        self.world.save()
        self.come("page", 0, 0)
        self.come("plain", 0, 1)
        self.come("thread", 1, 1)

    # What happens, by itself and beside all that is done to those who hear of it

    @rule(said=st.lists(TALK, min_size=1, max_size=4))
    def talk(self, said: list[Said]) -> None:
        for n, m, act in said:
            if not self.world.thread_ids():
                self.world.open_thread(None)
            for thread_id in self.one_of(self.world.thread_ids(), n):
                getattr(self.world, act)(thread_id, m)

    # What is done to the log and to its workers

    @rule(
        said=st.lists(TALK, min_size=1, max_size=4),
        act=st.sampled_from(UPSETS),
        noticed=st.booleans(),
        cuts=st.booleans(),
    )
    def upset_log(self, said: list[Said], act: str, noticed: bool, cuts: bool) -> None:
        """After a restore the operator rotates the epochs before anything is written; workers may look before."""
        self.talk(said)  # nobody has heard of it yet
        if act.startswith("prune"):
            self.world.prune(float(act.removeprefix("prune ")))
        elif act != "rotate":
            getattr(self.world, act)()
        if noticed:
            self.look()
        if act in ("rotate", "restore"):
            self.world.rotate()
        if noticed:
            self.look()
        for client in self.connected if cuts else ():  # all hear of it, and can do nothing about it
            client.read(ALL)
            client.fail()

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

    @rule(seconds=st.sampled_from([LATER, MUCH_LATER]), wakes=st.booleans())
    def pass_time(self, seconds: float, wakes: bool) -> None:
        """Whoever is not woken by it notices it with what comes next."""
        self.clock.now += seconds
        for client in self.connected if wakes else ():
            client.wake()

    # What becomes of the hints

    @precondition(lambda self: self.world.hints)
    @rule(said=meanwhile, which=st.lists(some, min_size=1, max_size=6), drops=st.booleans())
    def deliver(self, said: list[Said], which: list[int], drops: bool) -> None:
        """Any of them, so also before an earlier one, and another time later; those that were not may be lost."""
        self.talk(said)
        for n in which:
            self.world.deliver(self.world.hints[n % len(self.world.hints)])
            self.settle()
        if drops:
            self.world.hints.clear()

    @precondition(lambda self: self.world.hints)
    @rule(said=meanwhile, order=st.integers(0, 99))
    def deliver_all(self, said: list[Said], order: int) -> None:
        """One after the other, at 0 in the order in which they were rung."""
        self.talk(said)
        if order:
            Random(order).shuffle(self.world.hints)
        while self.world.hints:
            self.world.deliver(self.world.hints.pop(0))
            self.settle()

    @rule()
    def look(self) -> None:
        """Every worker looks at the heads, and what follows from it happens."""
        for n in range(WORKERS):
            self.world.tick(n)
        self.settle()

    # What readers do

    @precondition(lambda self: len(self.clients) < MANY)
    @rule(kind=st.sampled_from(["page", "page", "plain", "thread"]), n=some, worker=worker)
    def come(self, kind: str, n: int, worker: int) -> None:
        thread_id = next(self.one_of(self.world.thread_ids(), n), None)
        one = thread_id if kind == "thread" else None
        client = Page(self.world, thread_id) if kind == "page" else Client(self.world, one)
        client.connect(worker)
        self.clients.append(client)

    @rule(said=meanwhile, whom=whom, size=sizes, worker=worker)
    def read(self, said: list[Said], whom: int | None, size: int, worker: int) -> None:
        """Who was away comes back for it."""
        self.talk(said)
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
            if not [client for client in self.clients if client.go_on()]:
                break
            self.look()
        else:
            raise AssertionError("it never comes to rest")
        fresh = Client(self.world)
        for client in self.clients:
            assert differing(client.seen, only(fresh.seen, client.thread_id)) == []
            if isinstance(client, Page):
                client.steps.append(("same", client.state()))

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

    @staticmethod
    def one_of(things: list[Any], n: int) -> Iterator[Any]:
        return iter([things[n % len(things)]] if things else [])
