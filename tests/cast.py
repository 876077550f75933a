"""Named people for every test: Alice owns, Bob belongs to the same tenant, Charlie to another and must see nothing."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Table, insert, select
from sqlalchemy.orm import Session

from chat import accounts, agents
from chat.accounts import Viewer
from chat.models import Base, Participant, User
from chat.store import Store


class Cast:
    """Alice and Bob of Acme, Olga who operates it, Charlie of Evil Corp; each tenant has an agent called echo.

    They are made once, as everybody is, and come to each database as they were: making them takes longer than most
    tests.
    """

    def __init__(self, scratch: Store) -> None:
        self._people = pickle.dumps(scratch.write(make))
        self._rows = scratch.read(all_rows)

    def enter(self, store: Store) -> SimpleNamespace:
        """Bring them to a database without people."""
        store.write(lambda session: [session.connection().execute(insert(table), rows) for table, rows in self._rows])
        return pickle.loads(self._people)  # type: ignore[no-any-return]


def make(session: Session) -> SimpleNamespace:
    acme, evil = accounts.add_tenant(session, "Acme"), accounts.add_tenant(session, "Evil Corp")
    found = SimpleNamespace()
    for name, tenant, role in (
        ("alice", acme, "member"),
        ("bob", acme, "member"),
        ("olga", acme, "operator"),
        ("charlie", evil, "member"),
    ):
        user = accounts.add_user(session, tenant, f"{name}@example.com", "no password", role)
        setattr(found, name, viewer(session, user))
    found.agent, found.agent_token = agents.add_agent(session, acme, "echo", "http://192.0.2.1/")
    found.evil_agent, found.evil_agent_token = agents.add_agent(session, evil, "echo", "http://192.0.2.2/")
    return found


def viewer(session: Session, user: User) -> Viewer:
    participant = session.query(Participant).filter_by(user_id=user.id).one()
    return Viewer(user, participant.id, f"key:{user.id}")


def all_rows(session: Session) -> list[tuple[Table, list[dict[str, Any]]]]:
    """By table, those first that others refer to."""
    found = [(table, session.connection().execute(select(table)).mappings()) for table in Base.metadata.sorted_tables]
    return [(table, kept) for table, rows in found if (kept := [dict(row) for row in rows])]
