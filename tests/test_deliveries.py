"""Webhook calls through the real store: one message however often it is sent, and a row that says what became of it."""

import json
from types import SimpleNamespace
from typing import Any

import gevent
import pytest

from chat.store import Store
from tests.acts import (
    call,
    history,
    ledger,
    newest_run,
    open_thread,
    outbox_of,
    runs_of,
    say,
    spoken,
    texts,
    told,
)


@pytest.fixture
def thread(store: Store, people: SimpleNamespace) -> str:
    return open_thread(store, people.alice)


@pytest.fixture
def run(store: Store, people: SimpleNamespace, thread: str) -> str:
    """Alice has asked; the id of the run."""
    say(store, people.alice, thread, "Hello?")
    return str(newest_run(store, thread)["id"])


def test_an_answer_becomes_a_message_and_ends_its_run(
    store: Store, people: SimpleNamespace, thread: str, run: str
) -> None:
    assert outbox_of(store, thread) == [run]
    receipt = call(store, people.agent, {"thread_id": thread, "run_id": run, **spoken("Hello!")})
    [_, message] = history(store, people.alice, thread)["items"]
    assert (message["text"], message["author"], message["direction"], message["run_id"]) == (
        *("Hello!", "echo", "outgoing"),
        run,
    )
    assert receipt.status == 200
    assert receipt.body == {
        "status": "received",
        "thread_id": thread,
        "run_id": run,
        "message_id": message["id"],
        "seq": message["seq"],
    }
    assert newest_run(store, thread)["status"] == "success"
    assert newest_run(store, thread)["ended_at"]
    assert outbox_of(store, thread) == []
    assert ledger(store) == [(200, "received")]


def test_a_message_without_a_run_needs_only_a_key(store: Store, people: SimpleNamespace, thread: str) -> None:
    assert call(store, people.agent, {"thread_id": thread, **spoken("News!")}, "k1").status == 200
    assert texts(store, people.alice, thread) == ["News!"]
    assert runs_of(store, thread) == []


@pytest.mark.parametrize("kind", ["chat", "reasoning"])
def test_a_call_that_could_double_is_told_what_to_send(
    store: Store, people: SimpleNamespace, thread: str, run: str, kind: str
) -> None:
    body = {"thread_id": thread, **spoken(kind=kind)}
    receipt = call(store, people.agent, body if kind == "chat" else {**body, "run_id": run})
    assert (receipt.status, receipt.body["error"]["code"]) == (400, "no_key")
    assert "webhook-id" in receipt.body["error"]["message"]
    assert texts(store, people.alice, thread) == ["Hello?"]


def test_the_same_call_twice_is_one_message_and_two_equal_answers(
    store: Store, people: SimpleNamespace, thread: str
) -> None:
    body = {"thread_id": thread, **spoken("once")}
    first, second = (call(store, people.agent, body, "k1") for _ in range(2))
    assert (first.status, first.body, first.replayed) == (second.status, second.body, False)
    assert second.replayed
    assert texts(store, people.alice, thread) == ["once"]
    assert ledger(store) == [(200, "received"), (200, "repeated")]


def test_a_repeat_is_known_by_its_meaning_not_by_its_bytes(store: Store, people: SimpleNamespace, thread: str) -> None:
    body = {"thread_id": thread, "message": {"text": "once", "data": {"a": 1, "b": 2}}}
    call(store, people.agent, body, "k1")
    again = {"message": {"data": {"b": 2, "a": 1}, "text": "once"}, "sent_at": "later", "thread_id": thread}
    assert call(store, people.agent, json.dumps(again, indent=2).encode(), "k1").replayed


@pytest.mark.parametrize("change", [{"text": "other"}, {"kind": "data"}, {"data": {}}])
def test_a_key_that_is_used_for_another_meaning_is_a_conflict(
    store: Store, people: SimpleNamespace, thread: str, change: dict[str, Any]
) -> None:
    call(store, people.agent, {"thread_id": thread, **spoken("one")}, "k1")
    receipt = call(store, people.agent, {"thread_id": thread, "message": {"text": "one", **change}}, "k1")
    assert (receipt.status, receipt.body["error"]["code"]) == (409, "key_reused")
    assert texts(store, people.alice, thread) == ["one"]
    assert ledger(store) == [(200, "received"), (409, "key_reused")]


def test_the_same_text_under_another_key_is_a_second_message(
    store: Store, people: SimpleNamespace, thread: str
) -> None:
    for key in ("k1", "k2"):
        assert call(store, people.agent, {"thread_id": thread, **spoken("again")}, key).status == 200
    assert texts(store, people.alice, thread) == ["again", "again"]


def test_two_agents_may_use_the_same_key(store: Store, people: SimpleNamespace, thread: str) -> None:
    theirs = open_thread(store, people.charlie)
    for agent, owner, id in ((people.agent, people.alice, thread), (people.evil_agent, people.charlie, theirs)):
        assert not call(store, agent, {"thread_id": id, **spoken("mine")}, "k1").replayed
        assert texts(store, owner, id) == ["mine"]


@pytest.mark.parametrize("key", [None, "k1"])
def test_the_same_webhook_twenty_times_at_once_is_one_message_and_twenty_equal_answers(
    store: Store, people: SimpleNamespace, thread: str, run: str, key: str | None
) -> None:
    """P45."""
    body = {"thread_id": thread, "run_id": run, **spoken("once")}
    calls = [gevent.spawn(call, store, people.agent, body, key) for _ in range(20)]
    receipts = [greenlet.get(timeout=20) for greenlet in calls]
    assert {(receipt.status, json.dumps(receipt.body)) for receipt in receipts} == {
        (200, json.dumps(receipts[0].body)),
    }
    assert [receipt.replayed for receipt in receipts].count(False) == 1
    assert texts(store, people.alice, thread) == ["Hello?", "once"]
    assert sorted(ledger(store)) == [(200, "received"), *[(200, "repeated")] * 19]


def test_an_agent_cannot_touch_another_agents_thread(
    store: Store, people: SimpleNamespace, thread: str, run: str
) -> None:
    before = told(store, people.alice.participant_id)
    receipt = call(store, people.evil_agent, {"thread_id": thread, "run_id": run, **spoken("gotcha")}, "k1")
    unknown = call(store, people.evil_agent, {"thread_id": "nowhere", "run_id": run, **spoken("gotcha")}, "k2")
    assert (receipt.status, receipt.body) == (404, unknown.body)
    assert told(store, people.alice.participant_id) == before
    assert ledger(store) == [(404, "unknown_thread")] * 2


@pytest.mark.parametrize(
    ("body", "status", "outcome"),
    [
        (b"", 400, "bad_json"),
        (b"{", 400, "bad_json"),
        (b'"\xff"', 400, "bad_json"),
        (b"[" * 33 + b"]" * 33, 400, "too_deep"),
        (b"[]", 400, "invalid"),
        (b'{"thread_id": "t"}', 400, "invalid"),
        (b'{"thread_id": "t", "message": {}}', 400, "empty"),
        (b'{"thread_id": "t", "message": {"text": "a\\u0000"}}', 400, "nul"),
        (b'{"thread_id": "t", "message": {"text": "x"}}', 400, "no_key"),
        (b'{"thread_id": "t", "run_id": "r", "message": {"text": "x"}}', 404, "unknown_thread"),
        (b'{"thread_id": "a\\u0000b", "run_id": "r", "message": {"text": "x"}}', 400, "nul"),
        (b'{"thread_id": "", "run_id": "r", "message": {"text": "x"}}', 404, "unknown_thread"),
        (b'{"thread_id": "%s", "run_id": "r", "message": {"text": "x"}}' % (b"x" * 1000), 404, "unknown_thread"),
    ],
)
def test_a_call_that_cannot_be_taken_leaves_a_row_and_nothing_else(
    store: Store, people: SimpleNamespace, thread: str, body: bytes, status: int, outcome: str
) -> None:
    before = told(store, people.alice.participant_id)
    receipt = call(store, people.agent, body)
    assert (receipt.status, receipt.body["error"]["code"]) == (status, outcome)
    assert ledger(store) == [(status, outcome)]
    assert told(store, people.alice.participant_id) == before


@pytest.mark.parametrize("key", ["", "x" * 256, "a\nb", "a\x7fb"])
def test_a_key_that_cannot_be_kept_is_refused(store: Store, people: SimpleNamespace, thread: str, key: str) -> None:
    receipt = call(store, people.agent, {"thread_id": thread, **spoken()}, key)
    assert (receipt.status, receipt.body["error"]["code"]) == (400, "bad_key")
    assert ledger(store) == [(400, "bad_key")]
