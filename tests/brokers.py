"""Real brokers on free ports of this machine: one server, a master with its replica and sentinels, a cluster."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import redis
from redis.crc import key_slot

from realtime import broker
from tests.until import until

SERVICE = "main"
PASSWORD = "a/b@c d"  # what a password may well hold, and a URL may not


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Valkey:
    """One process. `options` are those of its command line, without their dashes."""

    def __init__(self, folder: Path, password: str = "", **options: object) -> None:
        self.port, self.password = free_port(), password
        self._folder, self._options = folder, options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> tuple[str, int]:
        return ("127.0.0.1", self.port)

    @property
    def url(self) -> str:
        user = f":{quote(self.password, safe='')}@" if self.password else ""
        return f"redis://{user}127.0.0.1:{self.port}"

    def start(self) -> Valkey:
        options = {"bind": "127.0.0.1", "port": self.port, "dir": self._folder, "save": "", "loglevel": "warning"}
        options |= self._options
        if self.password:
            options |= {"requirepass": self.password, "masterauth": self.password}
        words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
        self._run([str(broker.program()), *words])
        return self

    def start_as_sentinel(self, conf: str) -> Valkey:
        path = self._folder / "sentinel.conf"
        path.write_text(f"bind 127.0.0.1\nport {self.port}\ndir {self._folder}\n{conf}")
        self._run([str(broker.program()), str(path), "--sentinel"])
        return self

    def ask(self, *command: object) -> Any:
        """The plain answer to a command, as it was on the wire."""
        with redis.Redis(port=self.port, password=self.password or None, protocol=2) as client:
            client.response_callbacks.clear()
            return client.execute_command(*command)

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """It is there but does nothing, like a machine that has vanished."""
        assert self._process
        os.kill(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._process.pid, signal.SIGCONT)

    def _run(self, argv: list[str]) -> None:
        self._process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
        until(self._answers)

    def _answers(self) -> bool:
        with suppress(redis.RedisError):
            return bool(self.ask("PING"))
        return False


@contextmanager
def valkey(password: str = "", **options: object) -> Iterator[Valkey]:
    """One server."""
    with tempfile.TemporaryDirectory() as folder:
        server = Valkey(Path(folder), password, **options)
        try:
            yield server.start()
        finally:
            server.kill()


class Guarded:
    """A master, its replica, and three sentinels that watch over them."""

    def __init__(self, master: Valkey, replica: Valkey, sentinels: list[Valkey]) -> None:
        self.master, self.replica, self.sentinels = master, replica, sentinels

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in self.sentinels)
        return f"redis+sentinel://:{quote(PASSWORD, safe='')}@{hosts}/{SERVICE}"

    @property
    def whole(self) -> bool:
        state = self._state()
        return state["num-slaves"] == "1" and state["num-other-sentinels"] == "2" and self._linked()

    def named(self) -> int:
        """The port of the master that the sentinels name."""
        return int(self._state()["port"])

    def _state(self) -> dict[str, str]:
        words = [word.decode() for word in self.sentinels[0].ask("SENTINEL", "MASTER", SERVICE)]
        return dict(zip(words[::2], words[1::2], strict=True))

    def _linked(self) -> bool:
        return bool(self.replica.ask("ROLE")[3] == b"connected")


@contextmanager
def sentinels() -> Iterator[Guarded]:
    """A master that fails over after a second of silence."""
    with ExitStack() as stack:
        master = stack.enter_context(valkey(PASSWORD, repl_diskless_sync_delay=0))
        replica = stack.enter_context(
            valkey(PASSWORD, repl_diskless_sync_delay=0, replicaof=f"127.0.0.1 {master.port}")
        )
        conf = (
            f"sentinel monitor {SERVICE} 127.0.0.1 {master.port} 2\n"
            f'sentinel auth-pass {SERVICE} "{PASSWORD}"\n'
            f"sentinel down-after-milliseconds {SERVICE} 1000\n"
            f"sentinel failover-timeout {SERVICE} 5000\n"
        )
        guards = []
        for _ in range(3):
            sentinel = Valkey(Path(stack.enter_context(tempfile.TemporaryDirectory())))
            stack.callback(sentinel.kill)
            guards.append(sentinel.start_as_sentinel(conf))
        guarded = Guarded(master, replica, guards)
        until(lambda: guarded.whole, seconds=30)
        yield guarded


class Clustered:
    """Three masters that share the slots."""

    def __init__(self, nodes: list[Valkey]) -> None:
        self.nodes = nodes

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(f'127.0.0.1:{node.port}' for node in self.nodes)}"

    def owner(self, channel: str) -> Valkey:
        slot = key_slot(channel.encode())
        [port] = [owner[1] for first, last, owner, *_ in self.nodes[0].ask("CLUSTER", "SLOTS") if first <= slot <= last]
        [node] = [node for node in self.nodes if node.port == port]
        return node

    def move(self, channel: str) -> Valkey:
        """Give the channel's slot to another node, which is returned."""
        slot, source = key_slot(channel.encode()), self.owner(channel)
        target = next(node for node in self.nodes if node is not source)
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.ask("CLUSTER", "MYID"))
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.ask("CLUSTER", "MYID"))
        for node in (target, source):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", target.ask("CLUSTER", "MYID"))
        return target

    def join(self) -> None:
        shares = [(0, 5460), (5461, 10922), (10923, 16383)]
        for node, (first, last) in zip(self.nodes, shares, strict=True):
            node.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
        for other in self.nodes[1:]:
            self.nodes[0].ask("CLUSTER", "MEET", *other.address, other._options["cluster_port"])
        until(lambda: self.whole, seconds=30)

    @property
    def whole(self) -> bool:
        """Every node knows of every other, and all slots are served."""
        return all(
            len(node.ask("CLUSTER", "SLOTS")) >= 3 and b"cluster_state:ok" in node.ask("CLUSTER", "INFO")
            for node in self.nodes
        )


@contextmanager
def cluster() -> Iterator[Clustered]:
    """Three nodes without replicas; one that is away is noticed after a second."""
    with ExitStack() as stack:
        options = {"cluster_enabled": "yes", "cluster_node_timeout": 1000}
        nodes = [stack.enter_context(valkey(cluster_port=free_port(), **options)) for _ in range(3)]
        clustered = Clustered(nodes)
        clustered.join()
        yield clustered
