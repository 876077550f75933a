"""Runs the migrations in one transaction against the URL that prepare.py hands over."""

from alembic import context
from sqlalchemy import NullPool, create_engine

from chat.models import Base
from config import Config

url = context.config.attributes.get("url") or Config.from_env().database_url

with create_engine(url, poolclass=NullPool).connect() as connection:
    if connection.dialect.name == "sqlite":
        # Kept in the file. Here, while nobody else is: workers that switch it at once refuse each other.
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        connection.commit()
    # Batch mode: SQLite changes a table by making it anew.
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
