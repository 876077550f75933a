"""The store of a running server, for what no door of it does yet."""

from __future__ import annotations

from sqlalchemy.orm import Session

from chat import accounts, agents, threads
from chat.accounts import Viewer
from chat.models import Participant, User
from chat.store import Store
from tests.ports import free_port
from tests.server import Server


def store_of(server: Server) -> Store:
    return Store(server.database_url)


def add_person(server: Server, name: str, password: str) -> None:
    """Somebody else of the demo's tenant."""

    def add(session: Session) -> None:
        tenant = session.query(User).filter_by(name=server.name).one().tenant
        accounts.add_user(session, tenant, name, accounts.hasher.hash(password))

    store_of(server).write(add)


def add_stranger(server: Server, name: str, password: str, *names: str) -> None:
    """Somebody of a tenant of their own, with agents of these names at addresses where nobody listens."""

    def add(session: Session) -> None:
        tenant = accounts.add_tenant(session, name)
        accounts.add_user(session, tenant, name, accounts.hasher.hash(password))
        for agent in names:
            agents.add_agent(session, tenant, agent, f"http://127.0.0.1:{free_port()}/")

    store_of(server).write(add)


def open_threads(server: Server, name: str, count: int) -> None:
    def add(session: Session) -> None:
        user = session.query(User).filter_by(name=name).one()
        participant = session.query(Participant).filter_by(user_id=user.id).one()
        for _ in range(count):
            threads.create(session, Viewer(user, participant.id, "test"), server.agent, None)

    store_of(server).write(add)
