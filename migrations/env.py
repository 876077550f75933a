"""Runs the migrations in one transaction against the URL that prepare.py hands over, one server at a time."""

from alembic import context
from sqlalchemy import NullPool, create_engine, text

from chat.models import Base
from chat.store import address
from config import Config

LOCK = 7_240_011_203  # any number, of PostgreSQL's advisory locks: ours

url = address(context.config.attributes.get("url") or Config.from_env().database_url)

with create_engine(url, poolclass=NullPool).connect() as connection:
    # Batch mode: SQLite changes a table by making it anew.
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        if connection.dialect.name == "postgresql":
            # Who comes second finds everything done: the version is read only now.
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        context.run_migrations()
