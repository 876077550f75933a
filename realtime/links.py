"""Where the broker is, and bare connections to it; here one server, beside it sentinels.py and cluster.py.

A connection of ours never reconnects and never asks twice by itself: whoever holds it must know what it missed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Any

import gevent
from redis import Redis, RedisCluster, exceptions
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection as Connection
from redis.connection import BlockingConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.connection import Connection as TCPConnection
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.retry import Retry

TIMEOUT = 0.5  # seconds for anything asked of the broker: a hint is not worth waiting for
CONNECT = 1.0  # seconds for a whole connection, names and passwords included
CLIENTS = 8  # connections of the command client to one server; who wants one more waits

Node = tuple[str, int]  # host and port; of a socket its path and 0
Options = dict[str, Any]


OURS: Options = {
    "protocol": 2,  # what a subscribed connection says are then plain lists
    "socket_timeout": TIMEOUT,
    "socket_connect_timeout": TIMEOUT,
    "driver_info": None,  # it would be two more answers to wait for
}


class BrokerAway(exceptions.ConnectionError):
    """Nobody can say where the broker is, or it is not what it was said to be."""


@dataclass(frozen=True)
class Nodes:
    """Which node owns which slots: (first, last, node) in order; slots that nobody serves are left out."""

    ranges: tuple[tuple[int, int, Node], ...]

    @classmethod
    def only(cls, node: Node) -> Nodes:
        return cls(((0, REDIS_CLUSTER_HASH_SLOTS - 1, node),))

    @cached_property
    def all(self) -> frozenset[Node]:
        return frozenset(node for _, _, node in self.ranges)

    @cached_property
    def are_whole(self) -> bool:
        """Whether every slot is served by one of them."""
        return sum(last - first + 1 for first, last, _ in self.ranges) == REDIS_CLUSTER_HASH_SLOTS

    def owner(self, channel: str) -> Node | None:
        slot = key_slot(channel.encode())
        place = bisect_right(self.ranges, slot, key=lambda each: each[0]) - 1
        if place < 0 or slot > self.ranges[place][1]:
            return None
        return self.ranges[place][2]

    def channel_at(self, node: Node, prefix: str) -> str:
        """The first channel of that prefix, numbered from 0, which the node owns."""
        return next(channel for channel in (f"{prefix}{n}" for n in count()) if self.owner(channel) == node)


class Links(ABC):
    """The way to the broker. `known` is what was last found of its nodes, by whoever asked."""

    subscribe, unsubscribe, publish = "SUBSCRIBE", "UNSUBSCRIBE", "PUBLISH"

    def __init__(self, options: Options) -> None:
        self.known: Nodes | None = None
        self._options = {**options, **OURS}
        self._class: type[Connection] = self._options.pop("connection_class", TCPConnection)
        self._client: Redis | RedisCluster | None = None

    def find(self) -> Nodes:
        """Ask where the nodes are now. Raises RedisError."""
        self.known = self._find()
        return self.known

    def connect(self, node: Node) -> Connection:
        """Open a connection; each of its answers is waited for TIMEOUT seconds. Raises RedisError."""
        return opened(self._connection(node))

    def client(self) -> Redis | RedisCluster:
        """The client for commands on keys: it never asks twice, and raises RedisError after TIMEOUT."""
        if self._client is None:
            self._client = self._make_client()  # of a cluster, it asks at once where the nodes are
        return self._client

    def check(self) -> None:
        """Raise ValueError or TypeError if there is an option that no connection can have."""
        self._connection(("localhost", 0))

    @abstractmethod
    def _find(self) -> Nodes: ...

    @abstractmethod
    def _make_client(self) -> Redis | RedisCluster: ...

    def _connection(self, node: Node) -> Connection:
        return self._class(**place(node, self._class), **self._options)

    @property
    def _ssl(self) -> Options:
        """TLS, said the way of redis-py's clients."""
        return {"ssl": True} if self._class is SSLConnection else {}


class Server(Links):
    """One server at a fixed address."""

    def __init__(self, node: Node, options: Options) -> None:
        super().__init__(options)
        self._node = node

    def _find(self) -> Nodes:
        return Nodes.only(self._node)

    def _make_client(self) -> Redis:
        options = {**place(self._node, self._class), **self._options, "retry": once()}
        return Redis(connection_pool=BlockingConnectionPool(CLIENTS, TIMEOUT, self._class, **options))


def place(node: Node, connection_class: type[Connection]) -> Options:
    if connection_class is UnixDomainSocketConnection:
        return {"path": node[0]}
    return {"host": node[0], "port": node[1]}


def once() -> Retry:
    """No second attempt (redis-py 8 would make ten)."""
    return Retry(NoBackoff(), 0)


def opened(connection: Connection) -> Connection:
    """Connect within CONNECT seconds: looking up a name knows no time limit of its own."""
    with gevent.Timeout(CONNECT, exceptions.TimeoutError("the broker did not take a connection in time")):
        connection.connect()
    return connection


def ask(connection: Connection, *command: str) -> Any:
    """Ask; hang up if the answer is not a good one."""
    try:
        connection.send_command(*command, check_health=False)
        return connection.read_response()
    except exceptions.RedisError:
        connection.disconnect()
        raise


def ask_once(connection: Connection, *command: str) -> Any:
    """Ask, and hang up."""
    try:
        return ask(connection, *command)
    finally:
        connection.disconnect()
