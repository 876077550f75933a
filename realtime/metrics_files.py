"""The files in which workers keep their numbers, so that whichever of them is asked can answer for all.

They are prometheus-client's, with two differences. A file belongs to a place among the workers, not to a process: who
takes a dead one's place counts on, and there are never more files than places. And it has its room on the disk before
it is used: a worker that writes to a mapped page for which the disk has no room is killed (SIGBUS).

The master minds the files, and must not import prometheus_client, which chooses at its import how to count.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from pathlib import Path

FOLDER, PLACE = "PROMETHEUS_MULTIPROC_DIR", "METRICS_PLACE"  # in the environment of a worker
GAUGES = ("gauge_livesum", "gauge_livemax", "gauge_livemostrecent")  # they die with their worker
ROOM = 64 * 1024  # bytes of a file


def begin(folder: Path) -> None:
    """Start with nothing counted. Raises OSError."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)


def take_place(folder: Path, taken: Collection[int]) -> int:
    """Give the worker that is forked next the first place that is not taken, and return it.

    If there is no room on the disk, it counts for itself alone, and nobody sees it.
    """
    place = next(place for place in range(len(taken) + 1) if place not in taken)
    try:
        make_room(folder, place)
    except OSError:
        for name in (FOLDER, PLACE):
            os.environ.pop(name, None)
    else:
        os.environ.update({FOLDER: str(folder), PLACE: str(place)})
    return place


def make_room(folder: Path, place: int) -> None:
    for kind in ("counter", "histogram", *GAUGES):
        path = folder / f"{kind}_{place}.db"
        if not path.exists() or path.stat().st_size < ROOM:
            path.write_bytes(bytes(ROOM))
    leave_place(folder, place)


def leave_place(folder: Path, place: int) -> None:
    """Forget what a worker that is no more had open."""
    for gauge in GAUGES:
        path = folder / f"{gauge}_{place}.db"
        if path.exists():
            with path.open("r+b") as file:
                file.write(bytes(4))  # how much of it is in use
