"""Connections to PostgreSQL that are lost: cut, restarted, demoted, or with a commit of which nobody knows."""

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from sqlalchemy import text

from chat.models import Tenant
from chat.store import Store, StoreAway
from chat.transaction import WAIT
from tests.acts import open_thread, say, texts
from tests.postgres import Cluster, cluster
from tests.trouble import add, count, expect_away, expect_whole, locked, together, works
from tests.until import until


@pytest.fixture
def store(postgresql_store: Store) -> Store:
    return postgresql_store


@pytest.fixture
def server() -> Cluster:
    """The server itself, to be broken and mended."""
    return cluster()


def test_connections_that_died_while_nobody_looked_are_replaced_unnoticed(store: Store, server: Cluster) -> None:
    together(store, 5)
    server.cut(store.url)
    assert len(together(store, 5)) == 5


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
        # At an orderly end whoever holds the lock may be ended first, and the other have its answer in the last moment.
        assert isinstance(stuck.exception, StoreAway) or (how == signal.SIGINT and stuck.successful())
        expect_away(lambda: store.write(add("Acme")), WAIT)
    finally:
        server.start()
    until(lambda: is_written(store))
    expect_whole(store)


def is_written(store: Store) -> bool:
    """A server that has just come up may need a moment longer than a write is given."""
    try:
        store.write(add("Acme"))
    except StoreAway:
        return False
    return True


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


def test_while_the_tables_are_being_restored_the_store_is_away(postgresql_url: str, server: Cluster) -> None:
    store = Store(server.empty())
    expect_away(lambda: store.read(count), WAIT, "tenants")
    store.close()


@contextmanager
def silent() -> Iterator[int]:
    """A host that takes connections and never says a word, as one does that has lost its power; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_of_several_hosts_one_that_is_dead_does_not_keep_us_from_the_others(
    postgresql_url: str, server: Cluster
) -> None:
    """The driver gives every host two seconds, and we give it no more for all."""
    with silent() as port:
        hosts = f"host=127.0.0.1:{port}&host=127.0.0.1:{server.port}"
        store = Store(f"{postgresql_url}?{hosts}")
        until(lambda: works(store), 60)
        assert len(together(store, 1)) == 1
    store.close()
