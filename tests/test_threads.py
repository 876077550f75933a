"""Threads: whose they are, what is read in them, and what is left when they are gone."""

from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import inspect, text

from chat import log, threads
from chat.errors import Conflict, Invalid, NotFound
from chat.models import Base, Dispatch, Message, ReadMarker, Run, Thread
from chat.store import Store
from tests.acts import call, history, newest_run, open_thread, say, spoken, told


@pytest.fixture
def thread(store: Store, people: SimpleNamespace) -> str:
    return open_thread(store, people.alice)


def page(store: Store, who: Any, before: str | None = None, limit: int = 50) -> dict[str, Any]:
    return store.read(lambda s: threads.page(s, who, before, limit))


def reply(store: Store, people: SimpleNamespace, thread: str, key: str) -> int:
    """The agent says something; returns its seq."""
    return call(store, people.agent, {"thread_id": thread, **spoken(key)}, key).body["seq"]


def mark(store: Store, who: Any, thread: str, seq: int) -> dict[str, Any]:
    return store.write(lambda s: threads.mark_read(s, who, thread, seq))


def test_a_new_thread_is_shown_like_this(store: Store, people: SimpleNamespace) -> None:
    shown = store.write(lambda s: threads.create(s, people.alice, "echo", None))
    assert {name: value for name, value in shown.items() if name not in ("id", "created_at", "updated_at")} == {
        "agent": {"id": people.agent.id, "name": "echo"},
        "title": None,
        "topics": [],
        "tip_id": None,
        "last_message": None,
        "unread": 0,
    }
    assert told(store, people.alice.participant_id) == [(1, "thread", {**shown, "rev": 1, "change": "created"})]
    assert page(store, people.alice)["items"] == [shown]


def test_a_thread_asks_an_agent_of_its_own_tenant(store: Store, people: SimpleNamespace) -> None:
    by_name = store.write(lambda s: threads.create(s, people.charlie, "echo", None))
    assert by_name["agent"]["id"] == people.evil_agent.id
    for stranger in ("nobody", "", people.evil_agent.id):
        with pytest.raises(Invalid, match="no such agent"):
            store.write(lambda s, stranger=stranger: threads.create(s, people.alice, stranger, None))
    assert page(store, people.alice)["items"] == []


# P51, P52, P60: the tenant alone opens nothing; the operator reads, and no more than that.
READERS = {"alice": True, "bob": False, "olga": True, "charlie": False}


@pytest.mark.parametrize(("who", "may"), READERS.items())
def test_the_owner_and_the_tenants_operator_read_a_thread(
    store: Store, people: SimpleNamespace, thread: str, who: str, may: bool
) -> None:
    say(store, people.alice, thread, "Hello?")
    if may:
        assert [message["text"] for message in history(store, getattr(people, who), thread)["items"]] == ["Hello?"]
    else:
        with pytest.raises(NotFound):
            history(store, getattr(people, who), thread)


@pytest.mark.parametrize("role", ["operator", "admin"])
def test_an_operator_of_another_tenant_reads_nothing(
    store: Store, people: SimpleNamespace, thread: str, role: str
) -> None:
    people.charlie.user.role = role
    assert people.charlie.is_operator
    with pytest.raises(NotFound):
        history(store, people.charlie, thread)


@pytest.mark.parametrize("who", ["bob", "olga", "charlie"])
def test_nobody_else_changes_anything_in_it(store: Store, people: SimpleNamespace, thread: str, who: str) -> None:
    viewer, before = getattr(people, who), told(store, people.alice.participant_id)
    for work in (threads.delete, threads.fetch_own, lambda s, v, t: threads.mark_read(s, v, t, 1)):
        with pytest.raises(NotFound):
            store.write(lambda s, work=work: work(s, viewer, thread))
    assert told(store, people.alice.participant_id) == before


def test_what_is_not_yours_looks_like_what_does_not_exist(store: Store, people: SimpleNamespace, thread: str) -> None:
    refusals = []
    for id in (thread, "nowhere"):
        with pytest.raises(NotFound) as refusal:
            history(store, people.charlie, id)
        refusals.append((refusal.value.code, refusal.value.message))
    assert refusals[0] == refusals[1]


def test_a_list_holds_ones_own_threads_alone(store: Store, people: SimpleNamespace, thread: str) -> None:
    assert [shown["id"] for shown in page(store, people.alice)["items"]] == [thread]
    for who in (people.bob, people.olga, people.charlie):
        assert page(store, who)["items"] == []


def test_a_deleted_thread_takes_all_with_it_but_its_events(store: Store, people: SimpleNamespace, thread: str) -> None:
    say(store, people.alice, thread)
    mark(store, people.alice, thread, reply(store, people, thread, "k1"))
    kinds = [kind for _, kind, _ in told(store, people.alice.participant_id)]
    store.write(lambda s: threads.delete(s, people.alice, thread))
    for table in (Thread, Message, Run, Dispatch, ReadMarker):
        assert store.read(lambda s, table=table: s.query(table).count()) == 0, table.__name__
    events = told(store, people.alice.participant_id)
    assert [kind for _, kind, _ in events] == [*kinds, "thread"]
    assert events[-1][2] == {"rev": len(events), "id": thread, "thread_id": thread, "change": "deleted"}
    with pytest.raises(NotFound):
        store.write(lambda s: threads.delete(s, people.alice, thread))


REFERENCES = [(table.name, column.name) for table in Base.metadata.sorted_tables for column in table.c
              if column.foreign_keys]  # fmt: skip


@pytest.mark.parametrize(("table", "column"), REFERENCES)
def test_what_refers_to_a_deleted_row_is_found_by_an_index(sqlite_store: Store, table: str, column: str) -> None:
    """Else every message of a thread that is deleted has all runs of everybody read."""
    query = text(f"EXPLAIN QUERY PLAN SELECT * FROM {table} WHERE {column} = 'x'")
    plan = sqlite_store.read(lambda s: [row.detail for row in s.execute(query)])
    assert plan
    assert all(step.startswith("SEARCH") for step in plan), plan


def test_the_table_of_references_is_read_from_the_models() -> None:
    assert ("runs", "answer_id") in REFERENCES
    assert len(REFERENCES) > 15


CANARY = "canary-in-the-coal-mine"


def everything(store: Store) -> str:
    """All that the database holds, every column of every table."""
    tables = store.read(lambda s: inspect(s.connection()).get_table_names())
    assert {"messages", "events", "runs", "idempotency_keys", "deliveries", "outbox"} <= set(tables)
    return "\n".join(
        repr(tuple(row))
        for table in tables
        for row in store.read(lambda s, table=table: s.execute(text(f"SELECT * FROM {table}")).all())
    )


def test_of_what_was_said_in_a_deleted_thread_nothing_is_left_in_any_table(
    store: Store, people: SimpleNamespace
) -> None:
    thread = open_thread(store, people.alice, None)
    say(store, people.alice, thread, CANARY, data={CANARY: [CANARY]}, client_id="c1")
    run = newest_run(store, thread)["id"]
    call(store, people.agent, {"thread_id": thread, "run_id": run, **spoken(CANARY, kind="tool")}, "k1")
    call(store, people.agent, {"thread_id": thread, "run_id": run, "status": "error", "error": CANARY}, "k2")
    call(store, people.agent, {"thread_id": thread, **spoken(CANARY, data={"said": CANARY})}, "k3")
    kept = everything(store)
    assert kept.count(CANARY) >= 8, "the title, the texts, the data and the error: it would be found"
    assert all(f"'{key}'" in kept for key in ("c1", "k1", "k2", "k3"))
    store.write(lambda s: threads.delete(s, people.alice, thread))
    left = everything(store)
    assert CANARY not in left
    assert all(f"'{key}'" in left for key in ("c1", "k1", "k2", "k3")), "a repeat is still known as one"


def test_what_was_said_in_a_deleted_thread_is_not_said_again_by_its_repeat(
    store: Store, people: SimpleNamespace, thread: str
) -> None:
    say(store, people.alice, thread, client_id="c1")
    store.write(lambda s: threads.delete(s, people.alice, thread))
    for where in (thread, open_thread(store, people.alice)):
        with pytest.raises((NotFound, Conflict)):
            say(store, people.alice, where, client_id="c1")


def test_what_an_agent_says_in_a_deleted_thread_is_refused(store: Store, people: SimpleNamespace, thread: str) -> None:
    store.write(lambda s: threads.delete(s, people.alice, thread))
    assert call(store, people.agent, {"thread_id": thread, **spoken()}, "k1").status == 404


def test_only_what_the_agent_said_is_unread(store: Store, people: SimpleNamespace, thread: str) -> None:
    say(store, people.alice, thread)
    for key in ("k1", "k2"):
        reply(store, people, thread, key)
    assert page(store, people.alice)["items"][0]["unread"] == 2


def test_a_read_marker_only_goes_up(store: Store, people: SimpleNamespace, thread: str) -> None:
    first, second = (reply(store, people, thread, key) for key in ("k1", "k2"))
    assert mark(store, people.alice, thread, first) == {"thread_id": thread, "seq": first, "unread": 1}
    for seq in (second, first, 0, -5, second):
        assert mark(store, people.alice, thread, seq) == {"thread_id": thread, "seq": second, "unread": 0}
    events = told(store, people.alice.participant_id)
    reads = [data for _, kind, data in events if kind == "read"]
    assert len(reads) == 2, "marking again what is marked tells nobody anything"
    assert reads[-1] == {"rev": len(events), "thread_id": thread, "seq": second, "unread": 0, "change": "updated"}


@pytest.mark.parametrize("seq", [10**6, 2**63, 10**30])
def test_a_read_marker_stays_below_what_there_is(store: Store, people: SimpleNamespace, thread: str, seq: int) -> None:
    last = reply(store, people, thread, "k1")
    assert mark(store, people.alice, thread, seq)["seq"] == last
    reply(store, people, thread, "k2")
    assert page(store, people.alice)["items"][0]["unread"] == 1


def test_an_empty_thread_is_read_without_a_word(store: Store, people: SimpleNamespace, thread: str) -> None:
    assert mark(store, people.alice, thread, 5) == {"thread_id": thread, "seq": 0, "unread": 0}
    assert [kind for _, kind, _ in told(store, people.alice.participant_id)] == ["thread"]


def test_a_list_is_in_the_order_of_the_newest_message(store: Store, people: SimpleNamespace) -> None:
    ids = [open_thread(store, people.alice, str(number)) for number in range(3)]
    store.write(lambda s: s.query(Thread).update({"updated_at": Thread.updated_at - 1000}))
    say(store, people.alice, ids[1], "newest")
    listed = page(store, people.alice)["items"]
    assert listed[0]["id"] == ids[1]
    assert listed[0]["last_message"]["text"] == "newest"
    assert {shown["id"] for shown in listed} == set(ids)


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6])
def test_pages_of_threads_leave_none_out_and_show_none_twice(store: Store, people: SimpleNamespace, limit: int) -> None:
    ids = {open_thread(store, people.alice, str(number)) for number in range(5)}
    store.write(lambda s: s.query(Thread).update({"updated_at": 1_000}))  # all in the same millisecond
    seen: list[str] = []
    before = None
    for _ in range(6):
        found = page(store, people.alice, before, limit)
        seen += [shown["id"] for shown in found["items"]]
        before = found["next"]
        if before is None:
            break
    assert (sorted(seen), len(seen)) == (sorted(ids), 5)


@pytest.mark.parametrize("before", ["", "x", ".", "-1.a", "1e3.a", "٣.a", "9" * 16 + ".a"])
def test_a_page_begins_where_an_earlier_one_ended_and_nowhere_else(
    store: Store, people: SimpleNamespace, before: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        page(store, people.alice, before)
    assert refusal.value.field == "before"


def test_a_list_brings_the_cursor_from_which_to_read_on(store: Store, people: SimpleNamespace, thread: str) -> None:
    head = store.peek(lambda s: log.heads(s, [people.alice.participant_id]))[people.alice.participant_id]
    assert page(store, people.alice)["cursor"] == f"{head.epoch}.{head.seq}"
