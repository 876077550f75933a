"""The rig's own broker: killed and started again at the same port, paused, flushed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.brokers import Valkey


class Broker(Valkey):
    """`ask` goes past every proxy."""

    @contextmanager
    def dead(self) -> Iterator[None]:
        """Killed by SIGKILL, and started again at the end with nothing left of what it knew."""
        self.kill()
        try:
            yield
        finally:
            self.start()

    def listeners(self) -> int:
        """How many connections are subscribed to anything now."""
        return len(self.ask("CLIENT", "LIST", "TYPE", "pubsub").splitlines())

    def end_subscriptions(self) -> int:
        """Hang up on everyone who listens; return how many they were."""
        return int(self.ask("CLIENT", "KILL", "TYPE", "pubsub"))
