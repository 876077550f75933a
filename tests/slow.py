"""A transaction that takes its time, to be met by others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent

from chat.store import Store
from tests.until import until


class Slow:
    """A transaction that has done its work, and commits when the `with` block is over."""

    def __init__(self, store: Store, work: Callable[[Any], Any]) -> None:
        self._store, self._work = store, work
        self._done = self._may_commit = False

    def __enter__(self) -> None:
        self._task = gevent.spawn(self._store.write, self._run)
        until(lambda: self._done or self._task.ready())

    def __exit__(self, *_: object) -> None:
        self._may_commit = True
        self._task.get()

    def _run(self, session: Any) -> None:
        self._work(session)
        self._done = True
        until(lambda: self._may_commit)
