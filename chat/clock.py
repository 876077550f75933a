"""The database's clock: what several processes compare must not depend on whose clock is right."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Float
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction


class database_time(GenericFunction[float]):
    """Unix seconds by the database's clock."""

    type = Float()
    inherit_cache = True


@compiles(database_time, "sqlite")
def sqlite_time(element: Any, compiler: Any, **options: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(database_time, "postgresql")
def postgresql_time(element: Any, compiler: Any, **options: Any) -> str:
    # Of the statement: the transaction may have begun long ago, and waited. Stable within it, so an index can be used.
    return "CAST(extract(epoch FROM statement_timestamp()) AS double precision)"
