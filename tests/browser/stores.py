"""The store of a running server, for what no door of it does yet."""

from __future__ import annotations

from chat.store import Store
from tests.server import Server


def store_of(server: Server) -> Store:
    return Store(server.database_url)
