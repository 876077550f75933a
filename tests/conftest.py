"""Named people for every test: Alice owns, Bob belongs to the same tenant, Charlie to another and must see nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from chat import accounts, agents
from chat.accounts import Viewer
from chat.models import Participant, User
from chat.store import Store
from prepare import migrate
from realtime import hub
from tests.server import Server
from tests.site import Site


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


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, to be copied: making one takes longer than most tests."""
    path = tmp_path_factory.mktemp("database") / "empty.db"
    migrate(f"sqlite:///{path}")
    assert not path.with_name("empty.db-wal").exists(), "the file does not hold everything yet"
    return path


@pytest.fixture
def store(tmp_path: Path, empty_database: Path) -> Store:
    """A store on a migrated SQLite file, which collects what it would ring in `store.rung`."""
    store = Store(f"sqlite:///{shutil.copy(empty_database, tmp_path / 'test.db')}")
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


@pytest.fixture
def site(store: Store, people: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The application's doors on that store; there is no broker, and a stream does not wait for one."""
    monkeypatch.setattr(hub, "CONFIRM", 0.0)
    return Site(store, people, tmp_path / "data")


def viewer(session, user: User) -> Viewer:  # type: ignore[no-untyped-def]
    participant = session.query(Participant).filter_by(user_id=user.id).one()
    return Viewer(user, participant.id, f"key:{user.id}")
