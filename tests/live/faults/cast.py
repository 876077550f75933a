"""Who takes part in a load: tenants, each with a person who has threads, and an agent that posts to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from argon2 import PasswordHasher
from gevent.server import StreamServer
from sqlalchemy.orm import Session

from chat import accounts, agents, threads
from chat.accounts import Viewer
from chat.models import Participant
from chat.store import Store

QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
PASSWORD = "correct horse battery staple"
PASSWORD_HASH = QUICK.hash(PASSWORD)


@dataclass(frozen=True)
class Party:
    """One tenant: a person, known by an API key or by PASSWORD, their threads, and the agent's token."""

    tenant: str
    name: str
    token: str
    agent_token: str
    log: str
    threads: tuple[str, ...]
    cursor: str  # of the log before anything was said


def make_cast(store: Store, parties: int, threads_each: int, agent_url: str) -> list[Party]:
    """Make new tenants straight in the database, each as different from all others as a stranger."""
    return store.write(lambda session: [make_party(session, threads_each, agent_url) for _ in range(parties)])


def make_party(session: Session, count: int, agent_url: str) -> Party:
    name = uuid4().hex[:8]
    tenant = accounts.add_tenant(session, f"tenant {name}")
    user = accounts.add_user(session, tenant, f"{name}@example.com", PASSWORD_HASH)
    log = session.query(Participant).filter_by(user_id=user.id).one()
    _, agent_token = agents.add_agent(session, tenant, "agent", agent_url)
    viewer = Viewer(user, log.id, "")
    made = [threads.create(session, viewer, "agent", f"thread {number}")["id"] for number in range(count)]
    session.refresh(log)
    token = accounts.add_key(session, user, "rig")
    return Party(tenant.id, user.name, token, agent_token, log.id, tuple(made), f"{log.epoch}.{log.head}")


class SilentAgent:
    """Takes every question and says nothing: what agents say in a load is the load's own."""

    def __init__(self) -> None:
        self._server = StreamServer(("127.0.0.1", 0), self._accept)
        self._server.start()
        self.address = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.address}/"

    def stop(self) -> None:
        self._server.stop()

    def _accept(self, caller: Any, _address: object) -> None:
        with caller:
            caller.recv(65536)
            caller.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
