"""What this worker says to the others: a bounded queue, and one greenlet that empties it into the broker."""

from __future__ import annotations

import logging
import time
from collections import defaultdict

import gevent
from gevent.queue import Empty, Full, Queue
from redis.connection import AbstractConnection as Connection

from realtime.links import Links, Node, Nodes

logger = logging.getLogger(__name__)

QUEUED = 10_000  # hints waiting to be published; more are dropped
QUEUED_BYTES = 16 * 1024 * 1024
BATCH = 100  # hints in one write
BATCH_BYTES = 256 * 1024  # at most, and one hint more: a slow line must take them before the time is over
BREAK = 1.0  # seconds a node is left alone after a failure

Hint = tuple[str, bytes]  # a channel, and what is said there
NOWHERE: Node = ("", 0)  # stands for all nodes when nobody can say where they are


class Publisher:
    """Says every hint once: what fails is dropped, and the tick finds what it would have told.

    `published` and `dropped` count them; what the broker did not confirm in time counts as dropped.
    On the channels that begin with `probes`, words say only that they arrive.
    """

    def __init__(self, links: Links, probes: str) -> None:
        self.published = self.dropped = 0
        self._links, self._probes = links, probes
        self._queue: Queue[Hint] = Queue(QUEUED)
        self._queued_bytes = 0
        self._told = False  # that hints are dropped: once is enough
        self._nodes: Nodes | None = None
        self._in_doubt = False  # whether the nodes are still there
        self._connections: dict[Node, Connection] = {}
        self._broken: dict[Node, float] = {}  # the nodes that failed, and until when each is left alone

    @property
    def healthy(self) -> bool:
        return not self._broken

    def say(self, channel: str, said: bytes) -> None:
        """Publish this soon. Never waits; drops it if too much is waiting already."""
        try:
            if self._queued_bytes + len(said) > QUEUED_BYTES:
                raise Full
            self._queue.put_nowait((channel, said))
            self._queued_bytes += len(said)
        except Full:
            self.dropped += 1
            if not self._told:
                logger.warning("the bus is %d hints behind; dropping what comes", self._queue.qsize())
            self._told = True

    def run(self) -> None:
        while True:
            batch = self._batch()
            try:
                self._publish(batch, self._find())
            except Exception as error:  # whatever it was, the next hint may get through
                self._failed(NOWHERE, batch, error)
            if self._all_broken():
                gevent.sleep(BREAK)  # the breaker: hints queue up meanwhile
                self._broken = dict.fromkeys(self._broken, 0.0)

    def _batch(self) -> list[Hint]:
        batch: list[Hint] = []
        try:
            batch.append(self._queue.get(timeout=BREAK if self._broken else None))
            size = len(batch[0][1])
            while len(batch) < BATCH and size < BATCH_BYTES and not self._queue.empty():
                batch.append(self._queue.get_nowait())
                size += len(batch[-1][1])
        except Empty:
            pass  # no hint, but it is time for the trials
        self._queued_bytes -= sum(len(said) for _, said in batch)
        return batch + self._trials()

    def _trials(self) -> list[Hint]:
        """A word for each broken node, by which we learn whether it still is: hints may be long in coming."""
        nodes, now = self._nodes, time.monotonic()
        broken = [node for node, until in self._broken.items() if nodes and node in nodes.all and until < now]
        return [(nodes.channel_at(node, self._probes), b"") for node in broken if nodes]

    def _find(self) -> Nodes:
        """The nodes as whoever asked last has found them; after a failure, ask."""
        nodes = self._links.known
        if nodes is None or self._in_doubt:
            nodes = self._links.find()
            self._in_doubt = False
        if nodes != self._nodes:
            self._start_anew(nodes)
        self._broken.pop(NOWHERE, None)
        return nodes

    def _start_anew(self, nodes: Nodes) -> None:
        for connection in self._connections.values():
            connection.disconnect()
        self._connections.clear()
        self._broken = {node: until for node, until in self._broken.items() if node in nodes.all}
        self._nodes = nodes

    def _publish(self, batch: list[Hint], nodes: Nodes) -> None:
        now, by_node = time.monotonic(), defaultdict(list)
        for hint in batch:
            by_node[nodes.owner(hint[0])].append(hint)
        for node, hints in by_node.items():
            if node is None or now < self._broken.get(node, 0.0):
                self.dropped += self._count(hints)
                continue
            try:
                self._tell(node, hints)
            except Exception as error:  # the other nodes are to be told all the same
                self._failed(node, hints, error)
            else:
                self._worked(node, hints)

    def _tell(self, node: Node, hints: list[Hint]) -> None:
        if node not in self._connections:
            self._connections[node] = self._links.connect(node)
        connection = self._connections[node]
        commands = [(self._links.publish, channel, said) for channel, said in hints]
        connection.send_packed_command(connection.pack_commands(commands), check_health=False)
        for _ in hints:
            connection.read_response()

    def _count(self, hints: list[Hint]) -> int:
        return sum(not channel.startswith(self._probes) for channel, _ in hints)

    def _failed(self, node: Node, hints: list[Hint], error: Exception) -> None:
        if node in self._connections:
            self._connections.pop(node).disconnect()  # answers that still come would be taken for the next hints'
        if not self._broken:
            logger.warning("cannot publish, trying on: %s", error)
        self._broken[node] = time.monotonic() + BREAK
        self._in_doubt = True
        self.dropped += self._count(hints)

    def _worked(self, node: Node, hints: list[Hint]) -> None:
        if self._broken.pop(node, None) is not None:
            logger.info("publishing again")
        self._told = False
        self.published += self._count(hints)

    def _all_broken(self) -> bool:
        return NOWHERE in self._broken or (self._nodes is not None and self._broken.keys() >= self._nodes.all)
