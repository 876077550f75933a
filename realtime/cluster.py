"""A broker of many nodes, each of which owns some of the slots. Channels are sharded: they live where their slot does.

https://redis.io/docs/latest/develop/pubsub/#sharded-pubsub and .../reference/cluster-spec/
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import RedisCluster, exceptions
from redis.cluster import ClusterNode
from redis.connection import AbstractConnection as Connection
from redis.exceptions import RedisError

from realtime.links import BrokerAway, Links, Node, Nodes, Options, ask, ask_once, once

CLIENTS = 50  # connections of the command client to one node; redis-py refuses one more instead of waiting


class Cluster(Links):
    """The nodes that own slots. `seeds` are asked for them as long as no other is known."""

    # What is published without a shard goes to every node of the cluster, whoever listens there.
    subscribe, unsubscribe, publish = "SSUBSCRIBE", "SUNSUBSCRIBE", "SPUBLISH"

    def __init__(self, seeds: list[Node], options: Options) -> None:
        super().__init__(options)
        self._seeds = self._asked = seeds

    def connect(self, node: Node) -> Connection:
        connection = super().connect(node)
        # The kernel takes connections for a node that is stuck: it would be found silent again and again, and each
        # time the others would be hung up too.
        ask(connection, "PING")
        return connection

    def _find(self) -> Nodes:
        for node in self._asked:
            if found := self._nodes(node):
                self._asked = list(dict.fromkeys([node, *found.all, *self._seeds]))
                return found
        raise BrokerAway("no node of the cluster answers")

    def _nodes(self, asked: Node) -> Nodes | None:
        try:
            slots = ask_once(self.connect(asked), "CLUSTER", "SLOTS")
        except RedisError:
            return None
        ranges = tuple(sorted((first, last, address(owner, asked)) for first, last, owner, *_ in slots))
        return Nodes(ranges) if ranges else None

    def _make_client(self) -> RedisCluster:
        options = {**self._options, **self._ssl, "max_connections": CLIENTS}
        with only_redis_errors():
            return Client(startup_nodes=[ClusterNode(*seed) for seed in self._seeds], retry=once(), **options)


class Client(RedisCluster):
    """redis-py's own, but whatever it raises is a RedisError."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        with only_redis_errors():
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]


@contextmanager
def only_redis_errors() -> Iterator[None]:
    """When no node can be reached, redis-py raises what is neither a RedisError nor an OSError."""
    try:
        yield
    except exceptions.RedisClusterException as error:
        raise BrokerAway(str(error)) from None


def address(owner: list[Any], asked: Node) -> Node:
    """Where a node says that another is; if it does not know by what name, then where it is itself."""
    return (owner[0].decode() if owner[0] else asked[0], owner[1])
