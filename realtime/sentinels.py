"""A broker whose master the sentinels name; after a failover it is another one.

https://redis.io/docs/latest/develop/reference/sentinel-clients/
"""

from __future__ import annotations

from redis import Redis
from redis.connection import AbstractConnection as Connection
from redis.connection import BlockingConnectionPool
from redis.exceptions import RedisError
from redis.sentinel import Sentinel, SentinelConnectionPool

from realtime.links import CLIENTS, TIMEOUT, BrokerAway, Links, Node, Nodes, Options, ask, ask_once, once, opened, place


class Sentinels(Links):
    """The master of a service. `theirs` are the options of the sentinels where they differ from the master's."""

    def __init__(self, sentinels: list[Node], service: str, options: Options, theirs: Options) -> None:
        super().__init__(options)
        self._sentinels, self._service = sentinels, service
        self._theirs = {**self._options, "db": 0, "username": None, "password": None, **theirs}

    def connect(self, node: Node) -> Connection:
        try:
            connection = super().connect(node)
            # Who was the master may be a replica by now: it would take our hints and pass them on to nobody.
            if ask(connection, "ROLE")[0] != b"master":
                connection.disconnect()
                raise BrokerAway(f"{node[0]}:{node[1]} is not the master")
        except RedisError:
            self._ask_another()
            raise
        return connection

    def _find(self) -> Nodes:
        for sentinel in list(self._sentinels):
            if master := self._master(sentinel):
                return Nodes.only(master)
            self._ask_another()
        raise BrokerAway(f"no sentinel knows the master of {self._service}")

    def _master(self, sentinel: Node) -> Node | None:
        try:
            connection = opened(self._class(**place(sentinel, self._class), **self._theirs))
            found = ask_once(connection, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
        except RedisError:
            return None
        return (found[0].decode(), int(found[1])) if found else None

    def _ask_another(self) -> None:
        """The first of the sentinels may be cut off from the others, and know of no failover."""
        self._sentinels.append(self._sentinels.pop(0))

    def _make_client(self) -> Redis:
        theirs = {**self._theirs, **self._ssl, "retry": once()}
        options = {**self._options, **self._ssl, "retry": once(), "max_connections": CLIENTS, "timeout": TIMEOUT}
        sentinel = Sentinel(self._sentinels, sentinel_kwargs=theirs)
        client: Redis = sentinel.master_for(self._service, connection_pool_class=BlockingPool, **options)
        return client


class BlockingPool(SentinelConnectionPool, BlockingConnectionPool):
    """Connections to the master; who wants one more than there may be waits."""
