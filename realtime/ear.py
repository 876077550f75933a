"""One connection that listens: to the one server there is, or to one node of a cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import gevent
from gevent.pool import Group
from gevent.queue import Queue
from redis import exceptions
from redis.connection import AbstractConnection as Connection

from realtime.links import Links

QUIET = 10.0  # seconds without a word before the connection is probed
DOUBT = 0.5  # seconds without an answer before we say that it may be dead
ANSWER = 1.0  # seconds from there until it is given up
ORDERS = 500  # subscriptions in one write
TURN = 100  # pushes taken before others get their turn, however many more are there

Order = tuple[str, str]  # a command and its channel


class Silent(exceptions.ConnectionError):
    """The broker does not pass on what we say: a connection may be dead without knowing it."""


class Odd(exceptions.ConnectionError):
    """The broker has done what it was not asked for."""


class Ear:
    """Reads what a node pushes and sends it our subscriptions, in two greenlets.

    Neither waits for the other: a node whose words we do not read takes no more of ours.
    Told are: `on_said(channel, said)`, `on_confirmed(ear, channel)`, `on_quiet(ear)`, on whose probe there must be an
    answer, and `on_end(error)`. What tells must not wait.
    """

    def __init__(self, connection: Connection, links: Links, probe: str) -> None:
        self.probe = probe  # the channel on which this ear, and no other of ours, hears
        self.ready = False  # all that was wanted at the start is confirmed
        self.doubted = False
        self.on_said: Callable[[str, bytes], None] = lambda channel, said: None
        self.on_confirmed: Callable[[Ear, str], None] = lambda ear, channel: None
        self.on_quiet: Callable[[Ear], None] = lambda ear: None
        self.on_end: Callable[[Exception], object] = lambda error: None
        self._connection, self._links = connection, links
        self._orders: Queue[Order] = Queue()
        self._leaving: Counter[str] = Counter()  # channels by how often we asked to be let off
        self._tasks = Group()

    def start(self, channels: Iterable[str]) -> None:
        # The probe's channel last: its confirmation says that all the others' have come.
        for channel in (*channels, self.probe):
            self.subscribe(channel)
        for task in (self._read, self._write):
            self._tasks.spawn(self._until_it_ends, task)

    def close(self) -> None:
        self._tasks.kill()
        self._connection.disconnect()

    def subscribe(self, channel: str) -> None:
        self._orders.put((self._links.subscribe, channel))

    def unsubscribe(self, channel: str) -> None:
        self._leaving[channel] += 1
        self._orders.put((self._links.unsubscribe, channel))

    def _until_it_ends(self, task: Callable[[], None]) -> None:
        try:
            task()
        except Exception as error:  # whatever it was, there is one answer, and the listener gives it
            self.on_end(error)

    def _write(self) -> None:
        while True:
            orders = [self._orders.get()]
            while len(orders) < ORDERS and not self._orders.empty():
                orders.append(self._orders.get_nowait())
            self._connection.send_packed_command(self._connection.pack_commands(orders), check_health=False)

    def _read(self) -> None:
        while True:
            for _ in range(TURN):
                self._take(*self._next())
            gevent.sleep(0)

    def _next(self) -> tuple[bytes, bytes, bytes]:
        for seconds, then in ((QUIET, self._ask), (DOUBT, self._doubt), (ANSWER, self._give_up)):
            try:
                kind, channel, said = self._connection.read_response(timeout=seconds, disconnect_on_error=False)
                return kind, channel, said
            except exceptions.TimeoutError:
                then()
        raise AssertionError("given up, and yet here")

    def _ask(self) -> None:
        self.on_quiet(self)

    def _doubt(self) -> None:
        self.doubted = True

    def _give_up(self) -> None:
        raise Silent("the broker is silent")

    def _take(self, kind: bytes, channel: bytes, said: bytes) -> None:
        self.doubted = False
        name = channel.decode()
        if kind.endswith(b"message"):
            self.on_said(name, said)
        elif kind.endswith(b"unsubscribe"):
            self._let_off(name)
        else:
            self.on_confirmed(self, name)

    def _let_off(self, channel: str) -> None:
        if not self._leaving[channel]:
            raise Odd(f"the broker has ended the subscription of {channel}")  # its slot has moved to another node
        self._leaving[channel] -= 1
        if not self._leaving[channel]:
            del self._leaving[channel]
