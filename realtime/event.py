"""An entry of a log as it travels: read from the store or carried by a ring, then framed for its readers."""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class Event(msgspec.Struct, frozen=True, eq=False):
    """`data` is one line of JSON, encoded once where the event was made and never decoded on its way."""

    seq: int
    kind: str
    thread_id: str
    data: msgspec.Raw


class Head(NamedTuple):
    """Where a log stands: which life of it, its newest seq, and the seq below which nothing is kept."""

    epoch: str
    seq: int
    floor: int


class Page(NamedTuple):
    """Some consecutive events of a log, oldest first, and the head read in the same transaction before them."""

    head: Head
    events: list[Event]
