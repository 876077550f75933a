"""Moments that the processes of one machine can compare: its monotonic clock, and which boot of it that counts from."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
BOOT = BOOT_ID.read_text().strip()[:8] if BOOT_ID.exists() else secrets.token_hex(4)


def stamp() -> str:
    return f"{BOOT}:{time.monotonic():.6f}"


def moment(stamp: str) -> float | None:
    """When that was, in this machine's monotonic seconds; None if it was another machine's clock."""
    boot, _, seconds = stamp.partition(":")
    try:
        return float(seconds) if boot == BOOT else None
    except ValueError:
        return None
