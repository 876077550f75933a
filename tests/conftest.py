"""Named people for every test: Alice owns, Bob belongs to the same tenant, Charlie to another and must see nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from chat import accounts, agents
from chat.accounts import Viewer
from chat.models import Participant, User
from chat.store import Store
from prepare import migrate
from tests.server import Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that leave it whole."""
    yield from running(tmp_path_factory.mktemp("server"))


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server for one test that breaks it."""
    yield from running(tmp_path / "server")


def running(data_dir: Path) -> Iterator[Server]:
    server = Server(data_dir)
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show a failed test what its server said."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    for value in getattr(item, "funcargs", {}).values():
        if report.failed and isinstance(value, Server):
            report.sections.append(("server log", value.log()[-20_000:]))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store on a migrated SQLite file, which collects what it would ring in `store.rung`."""
    url = f"sqlite:///{tmp_path / 'test.db'}"
    migrate(url)
    store = Store(url)
    store.rung = []  # type: ignore[attr-defined]
    store.after_commit = store.rung.extend  # type: ignore[attr-defined]
    return store


@pytest.fixture
def people(store: Store) -> SimpleNamespace:
    """Alice and Bob of Acme, Olga who operates it, Charlie of Evil Corp; each tenant has an agent called echo."""

    def make(session):  # type: ignore[no-untyped-def]
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

    return store.write(make)


def viewer(session, user: User) -> Viewer:  # type: ignore[no-untyped-def]
    participant = session.query(Participant).filter_by(user_id=user.id).one()
    return Viewer(user, participant.id, f"key:{user.id}")
