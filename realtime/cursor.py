"""Where a reader stands in a Log: what `id:` carries and what Last-Event-ID brings back (DESIGN 7)."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Strict on purpose: whatever parses is written back unchanged, so one position has one spelling.
_CURSOR = re.compile(r"([A-Za-z0-9]{1,16})\.(0|[1-9][0-9]{0,14})")


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position: the Log's epoch and the seq of the last event seen (0: none yet)."""

    epoch: str
    seq: int

    @classmethod
    def parse(cls, text: str) -> Cursor | None:
        """Read what a client sent back. None: malformed, whatever the reason."""
        match = _CURSOR.fullmatch(text)
        return cls(match[1], int(match[2])) if match else None

    def __str__(self) -> str:
        return f"{self.epoch}.{self.seq}"
