"""What a server tells of itself and its processes' size, for rows that hold it to a figure."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests.server import Server

MB = 1024 * 1024


def metric(server: Server, name: str, label: str = "") -> float:
    """A metric over all workers; of those with labels all, or those with this one: `reason="stalled"`."""
    status, _, told = server.raw("GET", "/metrics", token=server.environ.get("METRICS_TOKEN"))
    assert status == 200, told
    lines = told.decode().splitlines()
    wanted = re.compile(rf"backchannel_{re.escape(name)}(?:{{(?P<labels>.*)}})? (?P<value>\S+)")
    found = filter(None, map(wanted.fullmatch, lines))
    return sum(float(line["value"]) for line in found if label in (line["labels"] or ""))


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
