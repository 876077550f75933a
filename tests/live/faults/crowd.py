"""A crowd of cheap and strict streams (bench/fleet.py) on a rig's server, for rows about many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

from bench.fleet import Fleet
from tests.live.faults.cast import Party
from tests.live.faults.rig import Rig


@contextmanager
def crowd(rig: Rig, cast: Sequence[Party], streams: int) -> Iterator[Fleet]:
    """Open so many streams of these parties by turns, without waiting for them; all leave at the end."""
    address = urlsplit(rig.url)
    fleet = Fleet((address.hostname or "", address.port or 0))
    try:
        for number in range(streams):
            party = cast[number % len(cast)]
            fleet.launch(party.token, party.cursor)
        yield fleet
    finally:
        fleet.land()
    assert not fleet.faults, fleet.faults[:5]
