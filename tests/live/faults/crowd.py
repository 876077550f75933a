"""A crowd of cheap and strict streams (bench/fleet.py) on a rig's server, for rows about many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

from bench.fleet import Fleet
from tests.live.faults.cast import Party
from tests.live.faults.rig import Rig
from tests.until import until


@contextmanager
def crowd(rig: Rig, cast: Sequence[Party], streams: int, at_once: int = 10_000) -> Iterator[Fleet]:
    """Open so many streams of these parties by turns, `at_once` of them before the first is open; all leave at the end.

    More than 2,048 at once do not find room in the kernel's queue, which is not the server's to answer for.
    """
    address = urlsplit(rig.url)
    fleet = Fleet((address.hostname or "", address.port or 0))
    try:
        for number in range(streams):
            if number % 100 == 0:
                until(lambda number=number: number - fleet.open < at_once, 60)
            party = cast[number % len(cast)]
            fleet.launch(party.token, party.cursor)
        yield fleet
    finally:
        fleet.land()
    assert not fleet.faults, fleet.faults[:5]
