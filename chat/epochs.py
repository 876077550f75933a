"""Epochs made by the database itself: one for each row of an update, where Python would give all rows the same."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction


class random_epoch(GenericFunction[str]):
    """Eight hexadecimal digits, as of `log.new_epoch`."""

    type = Text()
    inherit_cache = True


@compiles(random_epoch, "sqlite")
def sqlite_epoch(element: Any, compiler: Any, **options: Any) -> str:
    return "lower(hex(randomblob(4)))"


@compiles(random_epoch, "postgresql")
def postgresql_epoch(element: Any, compiler: Any, **options: Any) -> str:
    return "left(CAST(gen_random_uuid() AS text), 8)"
