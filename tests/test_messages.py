"""What a person says, once however often it is sent, and how it is read back in pages."""

from types import SimpleNamespace
from typing import Any

import gevent
import pytest

from chat import messages
from chat.errors import Conflict, Invalid, NotFound
from chat.store import Store
from tests.acts import call, history, newest_run, open_thread, runs_of, say, spoken, texts, told


@pytest.fixture
def thread(store: Store, people: SimpleNamespace) -> str:
    return open_thread(store, people.alice)


def test_what_was_said_is_shown_as_it_was_said(store: Store, people: SimpleNamespace, thread: str) -> None:
    message = say(store, people.alice, thread, "  Hello?\n", data={"a": [1, None]}, client_id="c1")
    assert {name: value for name, value in message.items() if name not in ("id", "created_at")} == {
        "thread_id": thread,
        "seq": 2,
        "rev": 2,
        "author": "alice@example.com",
        "direction": "incoming",
        "kind": "chat",
        "text": "  Hello?\n",
        "data": {"a": [1, None]},
        "parts": None,
        "feedback": None,
        "parent_id": None,
        "tip_id": message["id"],
        "topic": None,
        "client_id": "c1",
        "run_id": None,
        "edited_at": None,
    }
    page = history(store, people.alice, thread)
    assert [{**item, "tip_id": page["tip_id"]} for item in page["items"]] == [message]
    assert told(store, people.alice.participant_id)[1] == (2, "message", {**message, "change": "created"})


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"text": ""}, "text"),
        ({"text": " \n\t"}, "text"),
        ({"text": "x" * 32_001}, "text"),
        ({"text": "a\0"}, "text"),
        ({"text": "x", "data": {"a": {"\0": 1}}}, "data"),
        ({"text": "x", "client_id": ""}, "client_id"),
        ({"text": "x", "client_id": "x" * 101}, "client_id"),
        ({"text": "x", "client_id": "\0"}, "client_id"),
    ],
)
def test_what_cannot_be_said_is_refused_and_leaves_no_trace(
    store: Store, people: SimpleNamespace, thread: str, said: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        say(store, people.alice, thread, **said)
    assert refusal.value.field == field
    assert [kind for _, kind, _ in told(store, people.alice.participant_id)] == ["thread"]


@pytest.mark.parametrize("said", [{"text": "x" * 32_000}, {"text": "😀" * 32_000}, {"text": "", "data": {}}])
def test_what_can_just_be_said_is_taken(
    store: Store, people: SimpleNamespace, thread: str, said: dict[str, Any]
) -> None:
    assert say(store, people.alice, thread, **said)["text"] == said["text"]


def test_the_same_client_id_again_is_the_same_message(store: Store, people: SimpleNamespace, thread: str) -> None:
    def once() -> tuple[dict[str, Any], bool]:
        return store.write(lambda s: messages.say(s, people.alice, thread, "Hello?", {"a": 1}, "c1"))

    (first, first_repeated), (second, second_repeated) = once(), once()
    assert (first, first_repeated, second_repeated) == (second, False, True)
    assert texts(store, people.alice, thread) == ["Hello?"]
    assert len(runs_of(store, thread)) == 1


def test_twenty_times_at_once_too(store: Store, people: SimpleNamespace, thread: str) -> None:
    saying = [gevent.spawn(say, store, people.alice, thread, "Hello?", client_id="c1") for _ in range(20)]
    said = [greenlet.get(timeout=20) for greenlet in saying]
    assert said == [said[0]] * 20
    assert texts(store, people.alice, thread) == ["Hello?"]


@pytest.mark.parametrize("change", [{"text": "other"}, {"data": {"a": 2}}, {"data": None}])
def test_a_client_id_that_meant_something_else_is_a_conflict(
    store: Store, people: SimpleNamespace, thread: str, change: dict[str, Any]
) -> None:
    first = {"text": "Hello?", "data": {"a": 1}, "client_id": "c1"}
    say(store, people.alice, thread, **first)
    with pytest.raises(Conflict):
        say(store, people.alice, thread, **{**first, **change})
    with pytest.raises(Conflict):
        say(store, people.alice, open_thread(store, people.alice), **first)
    assert texts(store, people.alice, thread) == ["Hello?"]


def test_another_person_may_use_the_same_client_id(store: Store, people: SimpleNamespace, thread: str) -> None:
    """P53: a key is never wider than its owner."""
    theirs = open_thread(store, people.bob)
    say(store, people.alice, thread, "of Alice", client_id="c1")
    assert say(store, people.bob, theirs, "of Bob", client_id="c1")["text"] == "of Bob"


def test_without_a_client_id_the_same_text_is_said_twice(store: Store, people: SimpleNamespace, thread: str) -> None:
    for _ in range(2):
        say(store, people.alice, thread, "again")
    assert texts(store, people.alice, thread) == ["again", "again"]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Hello?", "Hello?"),
        ("  many \n\n spaces\t", "many spaces"),
        ("x" * 100, "x" * 59 + "…"),
        ("word " * 20, "word " * 11 + "word…"),
        ("first\nsecond", "first second"),
    ],
)
def test_the_first_message_is_the_title_of_a_thread_that_has_none(
    store: Store, people: SimpleNamespace, text: str, title: str
) -> None:
    thread = open_thread(store, people.alice, title=None)
    say(store, people.alice, thread, text)
    say(store, people.alice, thread, "another")
    shown = [data["title"] for _, kind, data in told(store, people.alice.participant_id) if kind == "thread"]
    assert shown == [title, title]  # created, and updated once


def test_a_title_that_was_given_stays(store: Store, people: SimpleNamespace, thread: str) -> None:
    say(store, people.alice, thread, "Hello?")
    assert [kind for _, kind, _ in told(store, people.alice.participant_id)] == ["thread", "message", "run"]


@pytest.mark.parametrize("who", ["bob", "olga", "charlie"])
def test_only_the_owner_speaks_in_a_thread(store: Store, people: SimpleNamespace, thread: str, who: str) -> None:
    with pytest.raises(NotFound):
        say(store, getattr(people, who), thread, "gotcha")
    assert texts(store, people.alice, thread) == []


def test_pages_lead_back_to_the_beginning_without_gap_or_double(
    store: Store, people: SimpleNamespace, thread: str
) -> None:
    said = [say(store, people.alice, thread, str(number))["seq"] for number in range(7)]
    seen: list[int] = []
    before = None
    for size in (3, 3, 1):
        page = history(store, people.alice, thread, before=before, limit=3)
        assert len(page["items"]) == size
        seen = [message["seq"] for message in page["items"]] + seen
        before = page["next"]
    assert (seen, before) == (said, None)


def test_pages_lead_on_to_the_end_without_gap_or_double(store: Store, people: SimpleNamespace, thread: str) -> None:
    said = [say(store, people.alice, thread, str(number))["seq"] for number in range(7)]
    seen: list[int] = []
    after: int | None = 0
    while after is not None:
        page = history(store, people.alice, thread, after=after, limit=3)
        seen += [message["seq"] for message in page["items"]]
        after = page["next"]
    assert seen == said


@pytest.mark.parametrize("count", [0, 2, 3])
def test_a_page_that_is_just_full_is_the_last(store: Store, people: SimpleNamespace, thread: str, count: int) -> None:
    for number in range(count):
        say(store, people.alice, thread, str(number))
    page = history(store, people.alice, thread, limit=3)
    assert (len(page["items"]), page["next"]) == (count, None)


def test_a_page_tells_of_a_run_that_nobody_asked_for_while_it_goes_on(
    store: Store, people: SimpleNamespace, thread: str
) -> None:
    """An agent that speaks first: who loads the page sees it at work as who heard of it does."""
    body = {"thread_id": thread, "run_id": "of-its-own"}
    call(store, people.agent, {**body, "status": "running"})
    [run] = history(store, people.alice, thread)["runs"]
    assert (run["status"], run["message_id"]) == ("running", None)
    call(store, people.agent, {**body, **spoken()})
    assert history(store, people.alice, thread)["runs"] == []


def test_a_page_tells_of_a_run_that_goes_on_wherever_its_question_stands(
    store: Store, people: SimpleNamespace, thread: str
) -> None:
    """An agent that says much on the way can be stopped by who loads the page, too."""
    say(store, people.alice, thread)
    run = newest_run(store, thread)["id"]
    for number in range(3):
        body = {"thread_id": thread, "run_id": run, **spoken(f"Step {number}", kind="tool")}
        call(store, people.agent, body, key=f"step {number}")
    page = history(store, people.alice, thread, limit=2)
    assert [message["text"] for message in page["items"]] == ["Step 1", "Step 2"]
    assert [found["id"] for found in page["runs"]] == [run]


def test_a_page_brings_its_runs_and_the_cursor_from_which_to_read_on(
    store: Store, people: SimpleNamespace, thread: str
) -> None:
    """P2: what happens between this page and the stream begins behind the cursor."""
    say(store, people.alice, thread)
    run = newest_run(store, thread)
    call(store, people.agent, {"thread_id": thread, "run_id": run["id"], **spoken()})
    page = history(store, people.alice, thread)
    assert page["runs"] == [newest_run(store, thread)]
    epoch, _, seq = page["cursor"].partition(".")
    assert epoch
    assert int(seq) == told(store, people.alice.participant_id)[-1][0]


def test_a_page_holds_only_its_own_thread(store: Store, people: SimpleNamespace, thread: str) -> None:
    other = open_thread(store, people.alice)
    say(store, people.alice, thread, "here")
    say(store, people.alice, other, "there")
    assert texts(store, people.alice, thread) == ["here"]
    assert [run["thread_id"] for run in history(store, people.alice, thread)["runs"]] == [thread]
