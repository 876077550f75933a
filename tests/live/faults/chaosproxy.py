"""A TCP proxy that breaks as it is told, in a process of its own (breaker.py), so that no test can hold it up."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from tests.server import ROOT


class ChaosProxy:
    """A proxy before `target`, for the length of a `with`. What is broken stays so until `heal`."""

    def __init__(self, target: str) -> None:
        argv = [sys.executable, "-m", "tests.live.faults.breaker", target]
        self._process = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def __enter__(self) -> ChaosProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def cut(self) -> None:
        """Reset all connections. New ones are served."""
        self._tell("cut")

    def refuse(self) -> None:
        """Reset all connections, and from now on refuse new ones as a closed port does."""
        self._tell("refuse")

    def blackhole(self) -> None:
        """Swallow all bytes, both ways; connections stay and come. `heal` resets those that lost bytes."""
        self._tell("blackhole")

    def delay(self, ms: float, bytes_per_second: float = 0) -> None:
        """Hold everything up for so long, each way, and pass on no more than that a second (0: no limit)."""
        self._tell("delay", ms, bytes_per_second)

    def slice(self, size: int) -> None:
        """Write what goes to the client in pieces of so many bytes."""
        self._tell("slice", size)

    def cut_after(self, size: int) -> None:
        """Reset the next connection once its client has been sent exactly so many bytes; later ones are served."""
        self._tell("cut_after", size)

    def heal(self) -> None:
        """Be an honest proxy again."""
        self._tell("heal")

    @property
    def connections(self) -> int:
        """How many are open now."""
        return int(self._tell("count"))

    @contextmanager
    def broken(self, how: str, *more: Any) -> Iterator[None]:
        """`with proxy.broken("delay", 300): ...` and healed after it, whatever happens."""
        self._tell(how, *more)
        try:
            yield
        finally:
            self.heal()

    def _tell(self, *words: Any) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the proxy died"
        return answer
