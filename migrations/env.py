"""Runs the migrations in one transaction against the URL that prepare.py hands over."""

from alembic import context
from sqlalchemy import create_engine

from chat.models import Base
from config import Config

url = context.config.attributes.get("url") or Config.from_env().database_url

with create_engine(url).connect() as connection:
    # Batch mode: SQLite changes a table by making it anew.
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
