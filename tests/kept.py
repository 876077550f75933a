"""Databases that stay open from test to test: a new engine has every statement to compile again, which takes longer
than most tests.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from sqlalchemy import URL

from chat.store import database_at
from chat.transaction import Database


class Kept:
    """Stands in for `chat.store.database_at`: the first store of a test is given the first database that was made for
    its URL, the second the second.
    """

    def __init__(self) -> None:
        self._made: defaultdict[tuple[str, int], list[Database]] = defaultdict(list)
        self._given: Counter[tuple[str, int]] = Counter()

    def begin(self) -> None:
        """A test begins. What it is given is open as the one before left it."""
        self._given.clear()

    def database_at(self, url: URL, pool: int) -> Database:
        key = (url.render_as_string(hide_password=False), pool)
        made, number = self._made[key], self._given[key]
        self._given[key] += 1
        if number == len(made):
            made.append(database_at(url, pool))
        return made[number]

    def close(self, url: str) -> None:
        """Close all that were given of this file, so that another can take its place."""
        for key in self._given:
            if key[0] == url:
                for database in self._made[key]:
                    database.close()
