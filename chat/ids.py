"""Identifiers and times as the outside sees them: UUIDv7 text and RFC 3339 in UTC."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime
from uuid import UUID


def new_id() -> str:
    """Make a UUIDv7 (RFC 9562, section 5.7): 48 bits of milliseconds, then 74 random bits; sorts by time as text."""
    value = (now_ms() & (1 << 48) - 1) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0b11 << 62) | 0b10 << 62
    return str(UUID(int=value))


def now_ms() -> int:
    """Unix time, milliseconds."""
    return time.time_ns() // 1_000_000


def rfc3339(ms: int | None) -> str | None:
    """Write Unix milliseconds as RFC 3339 in UTC with milliseconds; None stays None."""
    if ms is None:
        return None
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
