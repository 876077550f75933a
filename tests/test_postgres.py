"""PostgreSQL as a store: whatever it does, who waits is told in two seconds, and the pool is whole afterwards."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from types import SimpleNamespace
from typing import Any

import gevent
import psycopg
import pytest
from sqlalchemy import text

from agents import outbox
from chat.models import Tenant
from chat.postgres import PEEK_WAIT
from chat.store import Store, StoreAway
from chat.transaction import WAIT
from tests.acts import open_thread, say, texts
from tests.postgres import Cluster, cluster, database_of
from tests.until import until

SLACK = 1.5  # seconds


@pytest.fixture
def store(postgresql_store: Store) -> Store:
    return postgresql_store


@pytest.fixture
def server() -> Cluster:
    """The server itself, to be broken and mended."""
    return cluster()


def add(name: str) -> Callable[[Any], None]:
    return lambda session: session.add(Tenant(name=name))


def count(session: Any) -> int:
    return int(session.query(Tenant).count())


def expect_away(call: Callable[[], object], within: float, match: str | None = None) -> None:
    began = time.monotonic()
    with pytest.raises(StoreAway, match=match):
        call()
    assert time.monotonic() - began < within + SLACK


def expect_whole(store: Store) -> None:
    """Nothing hangs, and every connection of the pool can be had at once."""
    until(lambda: works(store))
    assert store.in_use == 0
    readers = [gevent.spawn(store.read, lambda s: s.scalar(text("SELECT 7 FROM pg_sleep(0.01)"))) for _ in range(30)]
    gevent.joinall(readers, raise_error=True)
    assert {reader.value for reader in readers} == {7}
    assert store.in_use == 0


def works(store: Store) -> bool:
    try:
        store.write(lambda s: s.execute(text("SELECT 1")))
    except StoreAway:
        return False
    return True


@contextmanager
def loop_goes_on() -> Iterator[None]:
    stalls, running = [0.0], True

    def tick() -> None:
        while running:
            before = time.monotonic()
            gevent.sleep(0.01)
            stalls.append(time.monotonic() - before - 0.01)

    ticking = gevent.spawn(tick)
    yield
    running = False
    ticking.join()
    assert len(stalls) > 50
    assert max(stalls) < 1.0


@contextmanager
def locked(store: Store, table: str = "tenants") -> Iterator[None]:
    with closing(psycopg.connect(store.url)) as connection:
        connection.execute(f"LOCK TABLE {table}")
        yield


@contextmanager
def paused(server: Cluster) -> Iterator[None]:
    """The server takes connections and answers nothing."""
    server.send(signal.SIGSTOP)
    try:
        yield
    finally:
        server.send(signal.SIGCONT)


def test_who_meets_a_lock_gives_up_in_time_and_the_loop_goes_on(store: Store) -> None:
    with locked(store), loop_goes_on():
        expect_away(lambda: store.write(add("Acme")), WAIT)
        expect_away(lambda: store.read(count), WAIT)
        expect_away(lambda: store.peek(count), PEEK_WAIT)
        expect_away(lambda: store.peek(count, wait=0.2), 0.2)
    expect_whole(store)
    assert store.read(count) == 0


@pytest.mark.parametrize("warm", [True, False], ids=["connected", "new"])
def test_a_server_that_is_paused_is_away_in_time_and_the_loop_goes_on(
    store: Store, server: Cluster, warm: bool
) -> None:
    """Its pause is met while pinging a connection, or while making one."""
    if warm:
        store.write(add("Acme"))
    with paused(server), loop_goes_on():
        expect_away(lambda: store.peek(count, wait=0.2), 0.2)
        expect_away(lambda: store.write(add("Bolt")), WAIT)
        several = [gevent.spawn(store.read, count) for _ in range(30)]
        gevent.joinall(several)
        assert {type(each.exception) for each in several} == {StoreAway}
    expect_whole(store)
    store.write(add("Cord"))
    assert store.read(count) >= 1 + warm


def test_when_every_connection_is_taken_the_others_wait_their_turn_in_time(postgresql_url: str) -> None:
    store = Store(postgresql_url, pool=2)
    with locked(store):
        stuck = [gevent.spawn(store.write, add(name)) for name in ("Acme", "Bolt")]
        until(lambda: store.in_use == 2)
        expect_away(lambda: store.peek(count, wait=0.3), 0.3, "every connection is busy")
        gevent.joinall(stuck)
    assert {type(each.exception) for each in stuck} == {StoreAway}
    expect_whole(store)
    open_now = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid != pg_backend_pid()"
    assert store.read(lambda s: s.scalar(text(open_now))) < 2
    store.close()


def test_connections_that_died_while_nobody_looked_are_replaced_unnoticed(store: Store, server: Cluster) -> None:
    together(store, 5)
    server.cut(store.url)
    assert len(together(store, 5)) == 5


def together(store: Store, number: int) -> set[int]:
    """Use so many connections at once; return the server's process ids."""

    found: set[int] = set()

    def held(session: Any) -> None:
        found.add(session.scalar(text("SELECT pg_backend_pid()")))
        until(lambda: len(found) == number)

    gevent.joinall([gevent.spawn(store.read, held) for _ in range(number)], raise_error=True)
    return found


def test_a_connection_that_is_cut_within_a_transaction_is_away(store: Store, server: Cluster) -> None:
    def work(session: Any) -> None:
        session.add(Tenant(name="Acme"))
        session.flush()
        server.cut(store.url)
        session.add(Tenant(name="Bolt"))

    expect_away(lambda: store.write(work), WAIT)
    expect_whole(store)
    assert store.read(count) == 0


@pytest.mark.parametrize("how", [signal.SIGQUIT, signal.SIGINT], ids=["crash", "restart"])
def test_a_server_that_restarts_is_away_only_meanwhile(store: Store, server: Cluster, how: signal.Signals) -> None:
    """R9."""
    together(store, 5)
    with locked(store, "participants"):
        stuck = gevent.spawn(store.read, lambda s: s.execute(text("SELECT count(*) FROM participants")))
        until(lambda: store.in_use == 1)
        server.stop(how)
    try:
        stuck.join()
        assert isinstance(stuck.exception, StoreAway)
        expect_away(lambda: store.write(add("Acme")), WAIT)
    finally:
        server.start()
    store.write(add("Acme"))
    expect_whole(store)


def test_a_primary_that_was_demoted_is_left_with_all_connections(store: Store, server: Cluster) -> None:
    """After a failover the old primary still answers, read-only, to those who stayed connected."""
    before = together(store, 3)
    with demoted(server):
        expect_away(lambda: store.write(add("Acme")), WAIT, "read-only transaction")
        expect_away(lambda: store.read(count), WAIT, "read-only")  # connects anew, and looks where to
    expect_whole(store)
    assert not before & together(store, 3)


@contextmanager
def demoted(server: Cluster) -> Iterator[None]:
    server.run("ALTER SYSTEM SET default_transaction_read_only = on")
    server.run("SELECT pg_reload_conf()")
    until(lambda: server.run("SHOW default_transaction_read_only") == [("on",)])
    try:
        yield
    finally:
        server.run("ALTER SYSTEM RESET default_transaction_read_only")
        server.run("SELECT pg_reload_conf()")
        until(lambda: server.run("SHOW default_transaction_read_only") == [("off",)])


def test_two_who_wait_for_each_other_are_away_not_stuck(store: Store) -> None:
    store.write(lambda s: s.add_all([Tenant(name="Acme"), Tenant(name="Bolt")]))
    update = text("UPDATE tenants SET created_at = 0 WHERE name = :name")

    def work(first: str, second: str) -> Callable[[Any], None]:
        def both(session: Any) -> None:
            session.execute(update, {"name": first})
            gevent.sleep(0.1)
            session.execute(update, {"name": second})

        return both

    names = [("Acme", "Bolt"), ("Bolt", "Acme")]
    writers = [gevent.spawn(store.write, work(*pair)) for pair in names]
    gevent.joinall(writers)
    errors = [writer.exception for writer in writers if writer.exception]
    assert [type(error) for error in errors] == [StoreAway]
    assert "deadlock" in str(errors[0])
    expect_whole(store)


SLOW_COMMIT = """
    CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(3); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON messages DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION slowly()
"""


def test_who_cannot_know_whether_it_committed_asks_again_and_finds_out(
    store: Store, people: SimpleNamespace, request: pytest.FixtureRequest
) -> None:
    """The answer to the COMMIT comes too late; the message is there all the same, once."""
    thread = open_thread(store, people.alice)
    store.write(lambda s: s.execute(text(SLOW_COMMIT)))
    request.addfinalizer(lambda: store.write(lambda s: s.execute(text("DROP FUNCTION IF EXISTS slowly CASCADE"))))
    expect_away(lambda: say(store, people.alice, thread, "Hello?", client_id="c1"), WAIT)
    rung = len(store.rung)  # type: ignore[attr-defined]
    until(lambda: texts(store, people.alice, thread) == ["Hello?"])
    store.write(lambda s: s.execute(text("DROP FUNCTION slowly CASCADE")))
    assert say(store, people.alice, thread, "Hello?", client_id="c1")["text"] == "Hello?"
    assert texts(store, people.alice, thread) == ["Hello?"]
    assert len(store.rung) == rung, "it was rung for a second time"  # type: ignore[attr-defined]


def test_a_greenlet_that_is_killed_in_a_query_leaves_nobody_its_answer(store: Store) -> None:
    """S38."""
    wrong, killed = [], 0

    def ask(number: int) -> None:
        query = text("SELECT CAST(:number AS integer) FROM pg_sleep(0.001)")
        answer = store.read(lambda s: s.scalar(query, {"number": number}))
        if answer != number:
            wrong.append((number, answer))

    for number in range(60):
        asking = [gevent.spawn(ask, number * 10 + part) for part in range(10)]
        gevent.sleep(random.uniform(0, 0.004))
        for each in random.sample(asking, 3):
            killed += not each.ready()
            each.kill()
        gevent.joinall(asking, raise_error=True)
    assert killed > 30
    assert wrong == []
    expect_whole(store)


def test_while_the_tables_are_being_restored_the_store_is_away(postgresql_url: str, server: Cluster) -> None:
    store = Store(server.empty())
    expect_away(lambda: store.read(count), WAIT, "tenants")
    store.close()


def test_a_store_that_is_forgotten_leaves_no_connection_open(postgresql_url: str, server: Cluster) -> None:
    store = Store(postgresql_url)
    gone = together(store, 2)
    del store
    open_now = f"SELECT pid FROM pg_stat_activity WHERE datname = '{database_of(postgresql_url)}'"
    until(lambda: not gone & {row[0] for row in server.run(open_now)})


def test_what_the_connection_is_bound_to_can_be_overruled_in_the_url(postgresql_url: str) -> None:
    def asked(url: str) -> list[str]:
        store = Store(url)
        names = ("lock_timeout", "application_name", "work_mem")
        found = [store.read(lambda s, name=name: s.scalar(text(f"SHOW {name}"))) for name in names]
        store.close()
        return found

    assert asked(postgresql_url)[:2] == ["2s", "backchannel"]
    assert asked(f"{postgresql_url}?application_name=mine&options=-c%20work_mem=9MB") == ["2s", "mine", "9MB"]


def test_a_page_is_of_one_instant(store: Store) -> None:
    def look_twice(session: Any) -> tuple[int, int]:
        before = count(session)
        store.write(add("Acme"))
        return before, count(session)

    assert store.read(look_twice) == (0, 0)
    assert store.read(count) == 1


def test_commits_are_durable_and_each_statement_sees_what_others_committed(store: Store) -> None:
    for name, value in (("fsync", "on"), ("synchronous_commit", "on"), ("transaction_isolation", "read committed")):
        assert store.write(lambda s, name=name: s.scalar(text(f"SHOW {name}"))) == value


def test_a_driver_that_would_block_the_loop_is_refused() -> None:
    """DB1: imported before gevent's patch it waits in C, and says nothing."""
    program = (
        "import psycopg, gevent.monkey; gevent.monkey.patch_all(); from chat.store import Store;"
        "Store('postgresql://nobody@127.0.0.1:1/none')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert "psycopg was imported before gevent's patch" in done.stderr


def test_a_log_that_somebody_holds_keeps_no_other_question_waiting(
    store: Store, people: SimpleNamespace, server: Cluster
) -> None:
    asked = {who.participant_id: open_thread(store, who) for who in (people.alice, people.bob)}
    for who in (people.alice, people.bob):
        say(store, who, asked[who.participant_id])
    with closing(psycopg.connect(store.url)) as connection:
        connection.execute("SELECT 1 FROM participants WHERE id = %s FOR UPDATE", [people.alice.participant_id])
        question = store.write(lambda s: outbox.claim(s, 10))
        assert question is not None
        assert question.body["thread_id"] == asked[people.bob.participant_id]
        assert store.write(lambda s: outbox.claim(s, 10)) is None
    question = store.write(lambda s: outbox.claim(s, 10))
    assert question is not None
    assert question.body["thread_id"] == asked[people.alice.participant_id]
