"""What this worker hears of the others: an ear on every node, and one answer to everything odd.

The answer: hang up everywhere, ask anew where the nodes are, subscribe everything again, and tell of the gap.
The connections are our own: redis-py's PubSub reconnects by itself and says nothing of what was missed meanwhile.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from contextlib import suppress

import gevent
from gevent.event import AsyncResult
from gevent.event import Event as Flag
from redis import exceptions
from redis.exceptions import RedisError

from realtime.ear import QUIET, Ear, Silent
from realtime.links import Links, Node, Nodes

logger = logging.getLogger(__name__)

LOOK = 1.0  # seconds between two looks at what is lost
BURST = 0.05  # seconds without a confirmation after which a burst of them is over

Say = Callable[[str, bytes], None]


class Moved(exceptions.ConnectionError):
    """The nodes are not where they were."""


class Listener:
    """`wanted` has a flag for each channel that is to be heard beside `control`; it is set while the broker's
    confirmation holds.

    `on_said(channel, said)` is told what is heard, `on_gap()` that something may have been missed. The probes go out
    by `say` like every hint, on channels that begin with `probes`. `reconnects` and `probe_failures` count.
    """

    def __init__(self, links: Links, control: str, probes: str, say: Say, wanted: dict[str, Flag]) -> None:
        self.on_said: Say = lambda channel, said: None
        self.on_gap: Callable[[], None] = lambda: None
        self.reconnects = self.probe_failures = 0
        self._links, self._say, self._wanted = links, say, wanted
        self._control, self._probes = control, probes
        self._nodes: Nodes | None = None
        self._ears: dict[Node, Ear] = {}
        self._lost: set[Node] = set()  # nodes that cannot be reached
        self._ended: AsyncResult[Exception] = AsyncResult()
        self._told = False  # of the broker's loss: once is enough
        self._missed_at = 0.0
        self._gap_is_due = False

    @property
    def healthy(self) -> bool:
        if self._nodes is None or not self._nodes.are_whole or self._lost:
            return False
        return all(ear.ready and not ear.doubted for ear in self._ears.values())

    def want(self, channel: str) -> None:
        if ear := self._ear(channel):
            ear.subscribe(channel)

    def let_go(self, channel: str) -> None:
        if ear := self._ear(channel):
            ear.unsubscribe(channel)

    def run(self) -> None:
        while True:
            try:
                self._hear(self._links.find())
            except Exception as error:  # whatever it was, there is one answer
                self._tell_of(error)
            gevent.sleep(random.uniform(0.1, 1.0))

    def _ear(self, channel: str) -> Ear | None:
        node = self._nodes.owner(channel) if self._nodes else None
        return self._ears.get(node) if node else None

    def _tell_of(self, error: Exception) -> None:
        if not self._told:
            logger.warning("lost the broker, trying to come back: %s", error)
        self._told = True
        self.probe_failures += isinstance(error, Silent)

    def _hear(self, nodes: Nodes) -> None:
        """Hear until something is odd, and raise it."""
        self._nodes, self._ended = nodes, AsyncResult()
        try:
            for node in nodes.all:
                self._open(node, nodes)
            if self._ears:
                self._watch(nodes)
        finally:
            self._close()

    def _open(self, node: Node, nodes: Nodes) -> None:
        try:
            connection = self._links.connect(node)
        except (RedisError, OSError) as error:  # the others are to be heard all the same
            self._lost.add(node)
            self._tell_of(error)
            return
        ear = self._ears[node] = Ear(connection, self._links, nodes.channel_at(node, self._probes))
        ear.on_said, ear.on_confirmed, ear.on_quiet = self.on_said, self._subscribed, self._probe
        ear.on_end = self._ended.set
        ear.start([channel for channel in (self._control, *self._wanted) if nodes.owner(channel) == node])

    def _close(self) -> None:
        self._nodes = None
        self.reconnects += bool(self._ears)
        for ear in self._ears.values():
            ear.close()
        self._ears.clear()
        self._lost.clear()
        for flag in self._wanted.values():
            flag.clear()

    def _watch(self, nodes: Nodes) -> None:
        asked_at = time.monotonic()
        while (error := self._ended.wait(LOOK)) is None:
            if self._lost or time.monotonic() - asked_at > QUIET:
                asked_at = time.monotonic()
                self._look()
            if self._links.known != nodes:  # the publisher, too, may have found it
                raise Moved("the broker's nodes have changed")
        raise error

    def _look(self) -> None:
        """Ask where the nodes are; try those that are lost."""
        with suppress(RedisError, OSError):  # as long as no one knows better, they are where they were
            self._links.find()
        for node in self._lost:
            with suppress(RedisError, OSError):
                self._links.connect(node).disconnect()
                self._ended.set(Moved(f"{node[0]}:{node[1]} is back"))

    def _probe(self, ear: Ear) -> None:
        self._say(ear.probe, b"")

    def _subscribed(self, ear: Ear, channel: str) -> None:
        if channel == ear.probe:
            ear.ready = True
            self._probe(ear)  # we hear; are we heard?
            self._came_back()
        elif flag := self._wanted.get(channel):
            if flag.is_set():
                self._missed()  # confirmed twice: somebody between us and the broker has connected anew
            flag.set()

    def _came_back(self) -> None:
        if self.healthy:
            logger.info("hearing the broker")
            self._told = False
        self._missed()  # what was said before this connection was

    def _missed(self) -> None:
        self._missed_at = time.monotonic()
        if not self._gap_is_due:
            self._gap_is_due = True
            gevent.spawn(self._tell_of_gap)

    def _tell_of_gap(self) -> None:
        """Once for a whole burst, and after it: what is looked for too early may be missed again."""
        while time.monotonic() - self._missed_at < BURST:
            gevent.sleep(BURST)
        self._gap_is_due = False
        self.on_gap()
