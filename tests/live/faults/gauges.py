"""What a server tells of itself and its processes' size, for rows that hold it to a figure."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from math import inf
from pathlib import Path

from tests.server import Server

MB = 1024 * 1024


def metric(server: Server, name: str, label: str = "") -> float:
    """A metric over all workers; of those with labels all, or those with this one: `reason="stalled"`."""
    return value(lines_of(server), name, label)


def lines_of(server: Server) -> list[str]:
    """All that it tells at this moment."""
    status, _, told = server.raw("GET", "/metrics", token=server.environ.get("METRICS_TOKEN"))
    assert status == 200, told
    return told.decode().splitlines()


def value(lines: list[str], name: str, label: str) -> float:
    wanted = re.compile(rf"backchannel_{re.escape(name)}(?:{{(?P<labels>.*)}})? (?P<value>\S+)")
    found = filter(None, map(wanted.fullmatch, lines))
    return sum(float(line["value"]) for line in found if label in (line["labels"] or ""))


class Distribution:
    """A histogram over all workers, from here on."""

    def __init__(self, server: Server, name: str, bounds: Sequence[float]) -> None:
        self._server, self._name, self._bounds = server, name, bounds
        self._before = [0.0 for _ in bounds]
        self._before = self._counts()

    def _counts(self) -> list[float]:
        """How many values there were up to each bound."""
        lines = lines_of(self._server)
        labels = [f'le="{bound}"' if bound < inf else 'le="+Inf"' for bound in self._bounds]
        told = [value(lines, f"{self._name}_bucket", label) for label in labels]
        return [now - before for now, before in zip(told, self._before, strict=True)]

    def quantile(self, q: float) -> float:
        """The first bound below which that part of all lies; the last bound is to be one below which all lie."""
        counts = self._counts()
        return next(bound for bound, count in zip(self._bounds, counts, strict=True) if count >= q * counts[-1])


def open_files(server: Server) -> int:
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in server.workers())


def memory(server: Server) -> int:
    """Bytes that all workers hold."""
    return sum(kernel_says(pid, "VmRSS") for pid in server.workers())


def peak(server: Server) -> int:
    """Bytes that all workers held at most since `forget_peak`."""
    return sum(kernel_says(pid, "VmHWM") for pid in server.workers())


def forget_peak(server: Server) -> None:
    for pid in server.workers():
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def kernel_says(pid: int, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found, f"the kernel does not tell {name}"
    return int(found[1]) * 1024
