"""Transactions: whole or not at all, told of only after the commit, and never waited for by the loop (DESIGN 4)."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from chat import messages
from chat.errors import Conflict
from chat.models import Tenant
from chat.store import LOOP_WAIT, WAIT, Store, StoreAway, take_turn
from tests.acts import open_thread, say, texts, told


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
        [sys.executable, "-c", program, store._url.removeprefix("sqlite:///")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"locked\n"
        try:
            yield
        finally:
            process.kill()


def names(store: Store) -> set[str]:
    return store.read(lambda s: {tenant.name for tenant in s.query(Tenant)})


def add(name: str) -> Any:
    return lambda session: session.add(Tenant(name=name))


def test_what_was_written_is_there_for_every_reader(store: Store) -> None:
    store.write(add("Acme"))
    assert names(store) == {"Acme"}
    assert store.peek(lambda s: s.query(Tenant.name).scalar()) == "Acme"
    assert names(Store(store._url)) == {"Acme"}


def test_a_transaction_that_raises_leaves_nothing_and_rings_nothing(store: Store, people: SimpleNamespace) -> None:
    thread = open_thread(store, people.alice)
    before, rung = told(store, people.alice.participant_id), len(store.rung)  # type: ignore[attr-defined]

    def work(session: Any) -> None:
        messages.say(session, people.alice, thread, "never said")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.write(work)
    assert told(store, people.alice.participant_id) == before
    assert len(store.rung) == rung  # type: ignore[attr-defined]
    say(store, people.alice, thread, "said")
    seqs = [seq for seq, _, _ in told(store, people.alice.participant_id)]
    assert seqs == list(range(1, len(seqs) + 1)), "it left a gap"


def test_what_was_committed_is_rung_in_commit_order_before_the_caller_goes_on(
    store: Store, people: SimpleNamespace
) -> None:
    thread = open_thread(store, people.alice)
    say(store, people.alice, thread)
    rung = [(log, event.seq, event.kind) for log, _, event in store.rung]  # type: ignore[attr-defined]
    alice = people.alice.participant_id
    assert rung == [(alice, seq, kind) for seq, kind, _ in told(store, alice)]
    assert [kind for _, _, kind in rung] == ["thread", "message", "run"]


def test_a_caller_is_told_of_the_mistake_and_nobody_else_is(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    """gevent's pool would print a traceback, with the text of the message in it."""

    def work(session: Any) -> None:
        raise Conflict("x", "a canary")

    with pytest.raises(Conflict, match="a canary"):
        store.write(work)
    assert capfd.readouterr() == ("", "")


def test_an_error_of_the_database_does_not_show_what_was_said(store: Store) -> None:
    """P58."""
    with pytest.raises(Exception) as found:  # noqa: PT011 (whatever it is, it must not say it)
        store.write(lambda s: s.execute(text("INSERT INTO tenants (id) VALUES (:name)"), {"name": "canary"}))
    assert "canary" not in str(found.value)


def test_who_did_the_same_at_the_same_instant_is_seen_at_the_second_look(store: Store) -> None:
    looks = []

    def work(session: Any) -> str:
        found = session.query(Tenant).filter_by(name="Acme").count()
        looks.append(found)
        if len(looks) == 1:  # as on a database with several writers: theirs commits after our look
            session.add(Tenant(name="Acme"))
            session.flush()
            session.add(Tenant(name="Acme"))
        return f"found {found}"

    assert store.write(work) == "found 0"
    assert len(looks) == 2


def test_a_constraint_that_stays_broken_is_an_error_after_two_looks(store: Store) -> None:
    looks = []

    def work(session: Any) -> None:
        looks.append(1)
        session.add(Tenant(name="Acme"))
        session.flush()
        session.add(Tenant(name="Acme"))

    with pytest.raises(IntegrityError):
        store.write(work)
    assert len(looks) == 2
    assert names(store) == set()


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
    with closing(sqlite3.connect(store._url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
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


def test_connections_are_counted_while_they_are_in_use(store: Store) -> None:
    seen: list[int] = []
    store.write(lambda s: seen.append(store.in_use))
    store.read(lambda s: seen.append(store.in_use))
    assert (seen, store.in_use) == ([1, 1], 0)


def test_commits_are_durable(store: Store) -> None:
    asked = ["journal_mode", "synchronous", "foreign_keys"]
    for run in (store.write, store.read, store.peek):
        assert [run(lambda s, name=name: s.execute(text(f"PRAGMA {name}")).scalar()) for name in asked] == ["wal", 2, 1]


def test_a_new_database_is_in_wal_mode_before_the_first_worker_comes(empty_database: Path) -> None:
    """Workers that switch to it at once refuse each other."""
    assert empty_database.read_bytes()[18:20] == b"\x02\x02"  # sqlite.org/fileformat2.html, section 1.3.3


def test_only_sqlite_is_understood_and_a_password_is_not_repeated() -> None:
    with pytest.raises(ValueError, match="postgresql:") as found:
        Store("postgresql://user:secret@host/db")
    assert "secret" not in str(found.value)


def test_many_writers_lose_nothing(store: Store, people: SimpleNamespace) -> None:
    thread = open_thread(store, people.alice)
    writers = [gevent.spawn(say, store, people.alice, thread, str(number)) for number in range(40)]
    gevent.joinall(writers, raise_error=True)
    assert sorted(texts(store, people.alice, thread), key=int) == [str(number) for number in range(40)]
