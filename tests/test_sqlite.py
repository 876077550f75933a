"""SQLite as a store: its lock is waited for in turn and in time, and never by the loop (DESIGN 4)."""

import os
import re
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import gevent
import pytest
from sqlalchemy import text

from chat.models import Tenant
from chat.sqlite import LOOP_WAIT, make_ready, take_turn
from chat.store import Store, StoreAway, address
from chat.transaction import WAIT
from prepare import migrate
from tests.server import ROOT


@pytest.fixture
def store(sqlite_store: Store) -> Store:
    return sqlite_store


def names(store: Store) -> set[str]:
    return store.read(lambda s: {tenant.name for tenant in s.query(Tenant)})


def add(name: str) -> Any:
    return lambda session: session.add(Tenant(name=name))


@contextmanager
def locked(store: Store) -> Iterator[None]:
    """Another process holds the write lock."""
    with another(
        "import sqlite3; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE')", store
    ):
        yield


@contextmanager
def recovering(store: Store) -> Iterator[None]:
    """Another process reads the log of one that crashed: the index in shared memory is void, and all is locked.

    Which byte is which lock: sqlite.org/walformat.html, section 2.3.
    """
    with another(
        "import fcntl; f = open(sys.argv[1] + '-shm', 'r+b', 0); fcntl.lockf(f, fcntl.LOCK_EX, 8, 120);"
        "f.write(bytes(96))",
        store,
    ):
        yield


@contextmanager
def another(work: str, store: Store) -> Iterator[None]:
    """Another process does this with the database, and stays."""
    program = f"import sys; {work}; print('locked', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, store.url.removeprefix("sqlite:///")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"locked\n"
        try:
            yield
        finally:
            process.kill()


def test_when_another_holds_the_lock_a_writer_gives_up_in_time_and_the_loop_goes_on(store: Store) -> None:
    """R11."""
    stalls, running = [0.0], True

    def tick() -> None:
        while running:
            before = time.monotonic()
            gevent.sleep(0.01)
            stalls.append(time.monotonic() - before - 0.01)

    ticking = gevent.spawn(tick)
    with locked(store):
        begun = time.monotonic()
        with pytest.raises(StoreAway):
            store.write(add("Acme"))
        assert WAIT - 0.5 < time.monotonic() - begun < WAIT + 2
        assert names(store) == set(), "a reader waits for no writer"
        assert store.peek(lambda s: s.query(Tenant).count()) == 0
    running = False
    ticking.join()
    assert len(stalls) > 50
    assert max(stalls) < 1.0
    store.write(add("Acme"))
    assert (names(store), store.in_use) == ({"Acme"}, 0)


def test_the_loop_itself_stands_still_for_a_tenth_of_a_second_at_most(store: Store) -> None:
    """A look that meets a lock, as after a crash, is given up; away from the loop it is waited for."""
    assert store.peek(lambda s: s.query(Tenant).count()) == 0
    assert names(store) == set()
    with recovering(store):
        begun = time.monotonic()
        with pytest.raises(StoreAway, match="locked"):
            store.peek(lambda s: s.query(Tenant).count())
        assert LOOP_WAIT / 2 < time.monotonic() - begun < 0.5
        begun = time.monotonic()
        with pytest.raises(StoreAway, match="locked"):
            names(store)
        assert WAIT - 0.5 < time.monotonic() - begun < WAIT + 1
    store.write(add("Acme"))
    assert store.peek(lambda s: s.query(Tenant.name).scalar()) == "Acme"


def test_only_a_lock_is_waited_for(store: Store) -> None:
    with closing(sqlite3.connect(store.url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
        connection.execute("BEGIN")
        begun = time.monotonic()
        with pytest.raises(sqlite3.OperationalError, match="within a transaction"):
            take_turn(connection, "BEGIN IMMEDIATE", begun + 10)
        assert time.monotonic() - begun < 1


def test_those_who_queue_behind_it_give_up_in_time_too(store: Store) -> None:
    with locked(store):
        begun = time.monotonic()
        writers = [gevent.spawn(store.write, add(str(number))) for number in range(8)]
        gevent.joinall(writers)
        assert all(isinstance(writer.exception, StoreAway) for writer in writers)
        assert time.monotonic() - begun < 2 * WAIT + 1
    assert store.in_use == 0
    store.write(add("Acme"))
    assert names(store) == {"Acme"}


def test_a_lock_that_is_let_go_in_time_is_waited_for(store: Store) -> None:
    with locked(store):
        writer = gevent.spawn(store.write, add("Acme"))
        gevent.sleep(0)
    assert writer.get(timeout=5) is None
    assert names(store) == {"Acme"}


def test_commits_are_durable(store: Store) -> None:
    asked = ["journal_mode", "synchronous", "foreign_keys"]
    for run in (store.write, store.read, store.peek):
        assert [run(lambda s, name=name: s.execute(text(f"PRAGMA {name}")).scalar()) for name in asked] == ["wal", 2, 1]


def test_a_new_database_is_in_wal_mode_before_the_first_worker_comes(empty_database: Path) -> None:
    """Workers that switch to it at once refuse each other."""
    assert empty_database.read_bytes()[18:20] == b"\x02\x02"  # sqlite.org/fileformat2.html, section 1.3.3


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def test_nobody_else_may_read_the_database_even_where_all_may_look_into_the_folder(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        tmp_path.chmod(0o755)
        url = f"sqlite:///{tmp_path / 'a.db'}"
        migrate(url)
        store = Store(url)
        store.write(add("Acme"))
        assert modes(tmp_path) == {"a.db": 0o600, "a.db-wal": 0o600, "a.db-shm": 0o600}
    finally:
        os.umask(before)
    store.close()


def test_what_an_older_version_left_for_all_to_read_is_closed(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (x)")
        for path in tmp_path.iterdir():
            path.chmod(0o644)
        make_ready(address(f"sqlite:///{tmp_path / 'a.db'}"))
        assert modes(tmp_path) == {"a.db": 0o600, "a.db-wal": 0o600, "a.db-shm": 0o600}


def test_a_file_that_is_damaged_is_away_not_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"no database" * 1000)
    store = Store(f"sqlite:///{tmp_path / 'a.db'}")
    for run in (store.write, store.read, store.peek):
        with pytest.raises(StoreAway, match="not a database"):
            run(lambda s: s.query(Tenant).count())


def test_no_lock_is_shared_by_native_threads(sqlite_url: str) -> None:
    command = [sys.executable, "-m", "tests.shared_locks", sqlite_url]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
    threads, shared = re.findall(r"\d+", said.splitlines()[0])
    assert threads == "4", "the loop, one that writes, two that read"
    assert shared == "0", said
