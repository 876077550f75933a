"""How much one page of messages may hold: rows, and also their size, which is looked at before any is loaded.

200 messages of the largest kind would be 100 MB, and a hundred readers may ask at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from typing import Any

from sqlalchemy import ColumnElement, Text, cast, func

from chat.models import Message

PAGE_SIZE = 1024 * 1024  # characters


def size_of(column: Any) -> ColumnElement[int]:
    return func.coalesce(func.length(cast(column, Text)), 0)


MESSAGE_SIZE: ColumnElement[int] = func.length(Message.text) + size_of(Message.data) + size_of(Message.parts)


def fitting(sizes: Iterable[int]) -> int:
    """How many of these, from the first on, make one page: at least one, if there is one."""
    return max(1, sum(total <= PAGE_SIZE for total in accumulate(sizes)))
