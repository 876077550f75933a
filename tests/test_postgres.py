"""PostgreSQL as a store: whatever it does, who waits is told in two seconds, and the pool is whole afterwards."""

import random
import subprocess
import sys
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import gevent
import psycopg
import pytest
from sqlalchemy import text

from agents import outbox
from chat.postgres import PEEK_WAIT
from chat.store import Store, StoreAway
from chat.transaction import WAIT
from tests.acts import open_thread, say
from tests.postgres import Cluster, cluster, database_of
from tests.trouble import add, count, expect_away, expect_whole, locked, loop_goes_on, paused, together
from tests.until import until


@pytest.fixture
def store(postgresql_store: Store) -> Store:
    return postgresql_store


@pytest.fixture
def server() -> Cluster:
    """The server itself, to be broken and mended."""
    return cluster()


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
    store = Store(f"{postgresql_url}?application_name=alone", pool=2)
    with locked(store):
        stuck = [gevent.spawn(store.write, add(name)) for name in ("Acme", "Bolt")]
        until(lambda: store.in_use == 2)
        expect_away(lambda: store.peek(count, wait=0.3), 0.3, "every connection is busy")
        gevent.joinall(stuck)
    assert {type(each.exception) for each in stuck} == {StoreAway}
    expect_whole(store)
    open_now = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'alone' AND pid != pg_backend_pid()"
    # Those that were hung up on the server ends in its own time.
    until(lambda: store.read(lambda s: s.scalar(text(open_now))) < 2)
    store.close()


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
        connection.rollback()  # a server notices only later that a connection was closed
        question = store.write(lambda s: outbox.claim(s, 10))
        assert question is not None
        assert question.body["thread_id"] == asked[people.alice.participant_id]
