"""Transactions: whole or not at all, and told of only after the commit, on every database (DESIGN 4)."""

from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from chat import messages
from chat.errors import Conflict
from chat.models import Tenant
from chat.store import Store, address
from tests.acts import open_thread, say, texts, told


def names(store: Store) -> set[str]:
    return store.read(lambda s: {tenant.name for tenant in s.query(Tenant)})


def add(name: str) -> Any:
    return lambda session: session.add(Tenant(name=name))


def test_what_was_written_is_there_for_every_reader(store: Store) -> None:
    store.write(add("Acme"))
    assert names(store) == {"Acme"}
    assert store.peek(lambda s: s.query(Tenant.name).scalar()) == "Acme"
    assert names(Store(store.url)) == {"Acme"}


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


def test_what_is_stored_is_answered_as_stored_whoever_cannot_be_told(
    store: Store, people: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    store.after_commit = lambda committed: [][0]
    thread = open_thread(store, people.alice)
    assert [kind for _, kind, _ in told(store, people.alice.participant_id)][:1] == ["thread"]
    assert thread
    assert "cannot tell of what was committed" in caplog.text


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


def test_connections_are_counted_while_they_are_in_use(store: Store) -> None:
    seen: list[int] = []
    store.write(lambda s: seen.append(store.in_use))
    store.read(lambda s: seen.append(store.in_use))
    assert (seen, store.in_use) == ([1, 1], 0)


def test_many_writers_lose_nothing(store: Store, people: SimpleNamespace) -> None:
    thread = open_thread(store, people.alice)
    writers = [gevent.spawn(say, store, people.alice, thread, str(number)) for number in range(20)]
    gevent.joinall(writers, raise_error=True)
    assert sorted(texts(store, people.alice, thread), key=int) == [str(number) for number in range(20)]


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_goes_by_three_names(scheme: str) -> None:
    url = address(f"{scheme}://ann:secret@db.example:5433/chat")
    assert (url.drivername, url.host, url.port, url.database) == ("postgresql+psycopg", "db.example", 5433, "chat")


@pytest.mark.parametrize(
    "url",
    ["mysql://user:secret@host/db", "postgresql+psycopg2://user:secret@host/db", "sqlite://", "user:secret", ""],
)
def test_another_database_is_refused_and_a_password_is_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="must be sqlite:///path or postgresql:") as found:
        Store(url)
    assert "secret" not in str(found.value)


@pytest.mark.parametrize("url", ["postgresql://user:secret@host:port/db", "postgresql:/user:secret@host"])
def test_an_address_that_cannot_be_read_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="DATABASE_URL cannot be read") as found:
        Store(url)
    assert "secret" not in str(found.value)
