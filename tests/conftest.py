"""What all tests share: servers, databases that are there already, and people in them (tests/cast.py)."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from chat.store import Store
from prepare import migrate
from realtime import hub
from tests import postgres
from tests.cast import Cast
from tests.kept import Kept
from tests.server import Server
from tests.site import Site

PATIENCE = 30.0  # seconds: the machines of tests are slow


@pytest.fixture(scope="session")
def sqlite_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from running(tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from running(tmp_path_factory.mktemp("server"), "postgresql")


@pytest.fixture(scope="session")
def server(sqlite_server: Server) -> Server:
    """One server for all tests that leave it whole."""
    return sqlite_server


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def either_server(request: pytest.FixtureRequest) -> Server:
    """The same on each database in turn."""
    return request.getfixturevalue(f"{request.param}_server")  # type: ignore[no-any-return]


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server for one test that breaks it."""
    # Patient with the agent: on a starved machine one that was killed takes seconds to come back.
    yield from running(tmp_path / "server", AGENT_RETRY_SECONDS="0.2,0.4,1,2,4,8")


def running(data_dir: Path, database: str = "sqlite", **settings: object) -> Iterator[Server]:
    server = Server(data_dir, database, **settings)
    try:
        yield server.start()
    finally:
        server.stop()


def pytest_configure() -> None:
    """Hear Ctrl-C again, and let servers hear it, also where a shell has started us in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


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
def sqlite_url(tmp_path: Path, empty_database: Path) -> str:
    """A migrated SQLite file."""
    return f"sqlite:///{shutil.copy(empty_database, tmp_path / 'test.db')}"


@pytest.fixture
def postgresql_url() -> Iterator[str]:
    """A migrated PostgreSQL database."""
    with postgres.cluster().borrowed() as url:
        yield url


@pytest.fixture(scope="session")
def kept_databases() -> Kept:
    return Kept()


@pytest.fixture
def kept_sqlite_url(kept_databases: Kept, empty_database: Path) -> Iterator[str]:
    """The same place in every test, and a new file there."""
    path = empty_database.with_name("kept.db")
    shutil.copy(empty_database, path)
    url = f"sqlite:///{path}"
    yield url
    kept_databases.close(url)
    path.unlink()


@pytest.fixture
def kept_postgresql_url(postgresql_url: str) -> str:
    return postgresql_url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, kept_databases: Kept, monkeypatch: pytest.MonkeyPatch) -> str:
    """A migrated database of each kind in turn. What it does when time is short is tested elsewhere."""
    kept_databases.begin()
    monkeypatch.setattr("chat.store.database_at", kept_databases.database_at)
    monkeypatch.setattr("chat.store.WAIT", PATIENCE)
    monkeypatch.setattr("chat.postgres.PEEK_WAIT", PATIENCE)
    return str(request.getfixturevalue(f"kept_{request.param}_url"))


@pytest.fixture
def store(database_url: str) -> Store:
    """A store on a migrated database, which collects what it would ring in `store.rung`."""
    return collecting(Store(database_url))


@pytest.fixture
def sqlite_store(sqlite_url: str) -> Iterator[Store]:
    """A store where SQLite's own matters are at stake."""
    with closing(collecting(Store(sqlite_url))) as store:
        yield store


@pytest.fixture
def postgresql_store(postgresql_url: str) -> Iterator[Store]:
    """A store where PostgreSQL's own matters are at stake."""
    with closing(collecting(Store(postgresql_url))) as store:
        yield store


def collecting(store: Store) -> Store:
    store.rung = []  # type: ignore[attr-defined]
    store.after_commit = store.rung.extend  # type: ignore[attr-defined]
    return store


@pytest.fixture(scope="session")
def cast(empty_database: Path) -> Cast:
    url = f"sqlite:///{shutil.copy(empty_database, empty_database.with_name('cast.db'))}"
    with closing(Store(url)) as scratch:
        return Cast(scratch)


@pytest.fixture
def people(store: Store, cast: Cast) -> SimpleNamespace:
    """Alice, Bob, Olga and Charlie, and the agents of their tenants."""
    return cast.enter(store)


@pytest.fixture
def site(store: Store, people: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The application's doors on that store; there is no broker, and a stream does not wait for one."""
    monkeypatch.setattr(hub, "CONFIRM", 0.0)
    return Site(store, people, tmp_path / "data")
