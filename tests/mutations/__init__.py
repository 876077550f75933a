"""Mutants by theme. Each is a function that patches a worker, before the application is loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MUTANTS: dict[str, Callable[[], None]] = {}


def mutant(patch: Callable[[], None]) -> Callable[[], None]:
    MUTANTS[patch.__name__] = patch
    return patch


def replace(owner: Any, name: str, value: Any) -> Any:
    """Put `value` in the place of what must be there, and return that: a mutant that changes nothing proves nothing."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    return before
