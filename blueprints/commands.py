"""What an operator does at a terminal: `flask --app app accounts …` and `flask --app app log …`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click
from flask.cli import AppGroup, with_appcontext
from sqlalchemy import select
from sqlalchemy.orm import Session

import logs
from agents import address
from blueprints.parts import secret_key, settings, store
from chat import accounts, agents, log
from chat.errors import ChatError
from chat.ids import rfc3339
from chat.models import Agent, Tenant, User
from chat.store import StoreAway
from chat.tokens import webhook_secret

T = TypeVar("T")


@with_appcontext
def begin() -> None:
    logs.set_up(settings().LOG_FORMAT)


people = AppGroup("accounts", help="Tenants, users, API keys and agents.", callback=begin)


@people.command("list")
def show_all() -> None:
    """List users and agents, by tenant."""
    for line in do(everybody):
        click.echo(line)


def everybody(session: Session) -> list[str]:
    users = session.execute(select(Tenant.name, User).join(User, User.tenant_id == Tenant.id))
    found = [f"{tenant}  user   {user.name}  {user.role if user.active else 'disabled'}" for tenant, user in users]
    asked = session.execute(select(Tenant.name, Agent).join(Agent, Agent.tenant_id == Tenant.id))
    return sorted(found + [f"{tenant}  agent  {agent.name}  {agent.url or agent.kind}" for tenant, agent in asked])


@people.command("add-user")
@click.argument("name")
@click.option("--tenant", required=True, help="made if there is none of this name")
@click.option("--role", type=click.Choice(accounts.ROLES), default="member")
@click.password_option()
def add_user(name: str, tenant: str, role: str, password: str) -> None:
    """Add a user, by e-mail address."""
    password_hash = accounts.hasher.hash(password)
    do(lambda s: accounts.add_user(s, accounts.add_tenant(s, tenant), name, password_hash, role))
    click.echo(f"{name} may sign in.")


@people.command("disable-user")
@click.argument("name")
def disable_user(name: str) -> None:
    """Let a user in no more; open streams end within seconds."""

    def disable(session: Session) -> None:
        accounts.find_user(session, name).active = False

    do(disable)
    click.echo(f"{name} may no longer sign in.")


@people.command("add-key")
@click.argument("name")
@click.option("--label", default="key", help="what the key is for")
def add_key(name: str, label: str) -> None:
    """Make an API key for a user and print it, this once."""
    click.echo(do(lambda s: accounts.add_key(s, accounts.find_user(s, name), label)))


@people.command("list-keys")
@click.argument("name")
def list_keys(name: str) -> None:
    """List a user's API keys: id, since when, what for."""
    for key in do(lambda s: accounts.keys_of(s, accounts.find_user(s, name))):
        click.echo(f"{key.id}  {rfc3339(key.created_at)}  {key.name}{'  (revoked)' if key.revoked_at else ''}")


@people.command("revoke-key")
@click.argument("key_id")
def revoke_key(key_id: str) -> None:
    """Let nobody in by a key any more; open streams end within seconds."""
    do(lambda s: accounts.revoke_key(s, key_id))
    click.echo(f"{key_id} opens nothing any more.")


@people.command("add-agent")
@click.argument("name")
@click.argument("url")
@click.option("--tenant", required=True)
def add_agent(name: str, url: str, tenant: str) -> None:
    """Add an agent that is asked at URL; print its token, this once, and its webhook secret."""
    try:
        address.read(url)
    except address.AddressRefused as error:
        raise click.ClickException(str(error)) from None
    agent, token = do(lambda s: agents.add_agent(s, accounts.add_tenant(s, tenant), name, url))
    click.echo(f"agent_id        {agent.id}\nagent_token     {token}")
    click.echo(f"webhook_secret  {webhook_secret(secret_key(), agent.id)}")


@people.command("rotate-agent")
@click.argument("name")
@click.option("--tenant", required=True)
def rotate_agent(name: str, tenant: str) -> None:
    """Give an agent a new token and print it, this once. Its webhook secret is derived from SECRET_KEY and stays."""
    click.echo(f"agent_token     {do(lambda s: agents.rotate_token(s, agents.agent_of(s, tenant, name)))}")


@people.command("remove-agent")
@click.argument("name")
@click.option("--tenant", required=True)
def remove_agent(name: str, tenant: str) -> None:
    """Remove an agent that nobody has a thread with."""
    do(lambda s: agents.remove_agent(s, agents.agent_of(s, tenant, name)))
    click.echo(f"{name} is removed.")


histories = AppGroup("log", help="The participants' logs.", callback=begin)


@histories.command("rotate-epoch")
def rotate_epoch() -> None:
    """Begin every log anew, after a database was restored: open pages then fetch everything again."""
    click.echo(f"{attempt(lambda: log.rotate_epochs(store()))} logs begin anew.")


def do(work: Callable[[Session], T]) -> T:
    """Run one transaction."""
    return attempt(lambda: store().write(work))


def attempt(what: Callable[[], T]) -> T:
    """A refusal is one line, not a traceback."""
    try:
        return what()
    except ChatError as error:
        raise click.ClickException(error.message) from None
    except StoreAway as error:
        raise click.ClickException(f"the store is away: {error}") from None
