"""What must be there before the workers start: the database at its newest, and the demo account if wanted.

A process of its own: a database driver that the master had imported would block every worker's loop.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import sqlite3
import sys
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

from sqlalchemy import NullPool, create_engine, select, text
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError
from sqlalchemy.orm import Session

import logs
from chat import accounts, agents
from chat.errors import ChatError
from chat.models import Agent, ApiKey, User
from chat.sqlite import make_ready
from chat.store import Store, StoreAway, address
from chat.tokens import hash_token, new_token, webhook_secret
from config import Config

if TYPE_CHECKING:
    from agents import kinds

MIGRATIONS = Path(__file__).parent / "migrations"
TENANT, USER, AGENT = "demo", "demo@example.com", "echo"


def main() -> None:
    settings = Config.or_exit()
    logs.set_up(settings.LOG_FORMAT)
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    described = agents_described(settings)
    migrate(settings.database_url)
    if settings.DEMO:
        welcome(make_demo(settings), settings)
    if described:
        bring_in_agents(settings, described)


def welcome(demo: dict[str, str], settings: Config) -> None:
    """Tell the person at the terminal how to sign in; a log for machines is kept, so no password is told there."""
    if settings.LOG_FORMAT == "json":
        logging.info("the demo's account is in %s", settings.data_dir / "demo.json")
    else:
        told = f"  Backchannel   {demo['url']}\n  sign in as    {demo['user']}\n  password      {demo['password']}"
        print(f"\n{told}\n", flush=True)


def migrate(url: str) -> None:
    """Bring the database to the newest version of its tables.

    Raises DBAPIError or sqlite3.Error when it cannot be reached or used, ValueError for a URL that cannot be read.
    """
    if address(url).get_backend_name() == "sqlite":
        make_ready(address(url))
    if version(url) == max(path.name for path in MIGRATIONS.glob("versions/*.py")).partition("_")[0]:
        return
    # Only now: importing Alembic takes a third of a second, and most starts have nothing to migrate.
    from alembic import command
    from alembic.config import Config as AlembicConfig

    alembic = AlembicConfig()
    alembic.set_main_option("script_location", str(MIGRATIONS))
    alembic.attributes["url"] = url
    command.upgrade(alembic, "head")


def version(url: str) -> str | None:
    """The version of the database's tables; None if it has none yet."""
    try:
        with create_engine(address(url), poolclass=NullPool).connect() as connection:
            return connection.scalar(text("SELECT version_num FROM alembic_version"))
    except (OperationalError, ProgrammingError):  # SQLite's and PostgreSQL's word for a table that is not there
        return None


def make_demo(settings: Config) -> dict[str, str]:
    """Make the demo's account and agent, or bring them to what demo.json says; return what it says."""
    path = settings.data_dir / "demo.json"
    kept = json.loads(path.read_text()) if path.exists() else None
    demo = {**(kept or new_demo()), "url": settings.public_url}
    password_hash = None if kept else accounts.hasher.hash(demo["password"])
    store = Store(settings.database_url)
    store.write(lambda session: bring_in(session, settings, demo, password_hash))
    store.close()
    with NamedTemporaryFile("w", dir=path.parent, delete=False) as file:  # private, and whole or not at all
        json.dump(demo, file, indent=2)
    os.replace(file.name, path)
    return demo


def new_demo() -> dict[str, str]:
    return {
        "url": "",
        "tenant": TENANT,
        "user": USER,
        "password": secrets.token_urlsafe(9),
        "token": new_token("key"),
        "agent": AGENT,
        "agent_token": new_token("agent"),
        "webhook_secret": "",
    }


def bring_in(session: Session, settings: Config, demo: dict[str, str], password_hash: str | None) -> None:
    """Make what demo.json names exist; with a `password_hash`, which a new file needs, also where the user was kept."""
    tenant = accounts.add_tenant(session, demo["tenant"])
    user = session.scalar(select(User).where(User.name == demo["user"]))
    if user is None:
        password_hash = password_hash or accounts.hasher.hash(demo["password"])
        user = accounts.add_user(session, tenant, demo["user"], password_hash, "admin")
    elif password_hash:
        user.password_hash = password_hash
    key = session.scalar(select(ApiKey).where(ApiKey.token_hash == hash_token(demo["token"])))
    session.add(key or ApiKey(user_id=user.id, name="demo", token_hash=hash_token(demo["token"])))
    agent = session.scalar(select(Agent).where(Agent.tenant_id == tenant.id, Agent.name == demo["agent"]))
    agent = agent or agents.add_agent(session, tenant, demo["agent"], "http://127.0.0.1")[0]
    agent.url = f"http://{os.environ['DEMO_AGENT']}/"
    agents.give_token(session, agent, demo["agent_token"])
    demo["webhook_secret"] = webhook_secret(settings.secret_key(), agent.id)


def agents_described(settings: Config) -> kinds.Agents:
    """The agents of agents.toml. Raises ConfigError."""
    if not (settings.AGENTS_FILE or settings.agents_file.exists()):
        return {}
    # Only now, as above: most starts need no HTTP client.
    from agents import kinds

    return kinds.load(settings)


def bring_in_agents(settings: Config, described: kinds.Agents) -> None:
    """Make these agents known, each in its tenant, which is made if there is none."""

    def work(session: Session) -> None:
        for (tenant, name), agent in described.items():
            owner = accounts.add_tenant(session, tenant)
            agents.describe(session, owner, name, agent.tag, agent.webhook_url, agent.token)

    store = Store(settings.database_url)
    store.write(work)
    store.close()


def explain(error: Exception) -> str:
    """Say in one line what is wrong, without the password."""
    said = str(error.orig) if isinstance(error, DBAPIError) else str(error)
    where = "The database cannot be used: " if isinstance(error, DBAPIError | sqlite3.Error | StoreAway) else ""
    return f"{where}{' '.join(said.split())}"


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError, ChatError, DBAPIError, sqlite3.Error) as error:
        sys.exit(f"Backchannel cannot start. {explain(error)}")
