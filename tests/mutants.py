"""Mutants: builds of the server that break one promise each, so that the row that holds it must fail.

A server started with MUTANT=name runs by tests/mutant.conf.py, which applies the patch in every worker before the
application is loaded. The product knows nothing of it. A comma joins several; TWEAKS are those that a row itself wants.
"""

from __future__ import annotations

import os

from tests.mutations import MUTANTS, broker, machine, store, streams, wire

__all__ = ["MUTANTS", "broker", "machine", "store", "streams", "wanted", "wire"]


def wanted(environ: dict[str, str] | os._Environ[str] = os.environ) -> list[str]:
    """The names asked for, in the order to apply."""
    return [name for kind in ("TWEAKS", "MUTANT") for name in environ.get(kind, "").split(",") if name]
