"""Limits: who asks for too much is told when there is more, and nothing of it is stored."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from sqlalchemy import select, update

from agents import outbox
from agents.scribe import Scribe
from chat import limits, messages
from chat.events import Done, Metadata, Token
from chat.events import Usage as Cost
from chat.ids import now_ms
from chat.limits import Limits, TooMany
from chat.models import Usage
from chat.store import Store
from realtime import hub
from tests.acts import call, newest_run, open_thread, runs_of, say, spoken, texts, token, write
from tests.site import Site

MOST = 3


@pytest.fixture
def thread(store: Store, people: SimpleNamespace) -> str:
    return open_thread(store, people.alice)


@pytest.fixture
def strict(store: Store, people: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The doors, with a limit."""
    monkeypatch.setattr(hub, "CONFIRM", 0.0)
    site = Site(store, people, tmp_path / "data", ANSWERS_PER_MINUTE=MOST, TOKENS_PER_DAY=1000)
    yield site
    site.app.extensions["store"].close()


def ask(site: Site, thread: str, who: str = "alice", **more: Any) -> Any:
    return site.call(who, "POST", f"/threads/{thread}/messages", {"text": "Hello?", **more})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Time goes on as it does, and by `passed` ms more, for those who set limits."""
    clock = SimpleNamespace(passed=0)
    monkeypatch.setattr(limits, "now_ms", lambda: now_ms() + clock.passed)
    return clock


def test_a_person_may_ask_for_so_many_answers_a_minute_and_is_told_when_there_are_more(
    strict: Site, store: Store, thread: str, clock: SimpleNamespace
) -> None:
    for _ in range(MOST):
        assert ask(strict, thread).status_code == 201
    before = texts(store, strict.people.alice, thread)
    refused = ask(strict, thread)
    error = refused.json["error"]
    assert (refused.status_code, error["code"]) == (429, "too_many_answers")
    assert 55 <= error["retry_after"] <= 60
    assert refused.headers["Retry-After"] == str(error["retry_after"])
    assert texts(store, strict.people.alice, thread) == before, "nothing of it is stored"
    assert len(runs_of(store, thread)) == MOST
    clock.passed = 50_000
    assert 5 <= ask(strict, thread).json["error"]["retry_after"] <= 10
    clock.passed = 60_001
    assert ask(strict, thread).status_code == 201


def test_what_has_been_deleted_or_taken_back_since_counts_all_the_same(strict: Site, store: Store) -> None:
    """Else who asks in threads that they delete could ask for ever."""
    for _ in range(MOST - 1):
        thread = open_thread(store, strict.people.alice)
        assert ask(strict, thread).status_code == 201
        assert strict.call("alice", "DELETE", f"/threads/{thread}").status_code == 204
    thread = open_thread(store, strict.people.alice)
    question = ask(strict, thread).json
    assert strict.call("alice", "DELETE", f"/messages/{question['id']}").status_code == 204
    assert runs_of(store, thread) == []
    refused = ask(strict, thread)
    assert (refused.status_code, refused.json["error"]["code"]) == (429, "too_many_answers")


def test_what_others_ask_for_and_what_an_agent_begins_is_not_counted(
    strict: Site, store: Store, people: SimpleNamespace, thread: str
) -> None:
    for number in range(2 * MOST):
        call(store, people.agent, {"thread_id": thread, "run_id": f"its own {number}", **spoken()})
    bobs = open_thread(store, people.bob)
    for _ in range(MOST):
        assert ask(strict, bobs, "bob").status_code == 201
        assert ask(strict, thread).status_code == 201
    assert ask(strict, thread).status_code == ask(strict, bobs, "bob").status_code == 429


def test_an_answer_under_the_agents_own_name_counts_all_the_same(
    strict: Site, store: Store, people: SimpleNamespace, thread: str
) -> None:
    """LangGraph names its runs itself."""
    for number in range(MOST):
        assert ask(strict, thread).status_code == 201
        assert store.write(lambda s: outbox.claim(s, 5.0))
        values = {"messages": [{"type": "ai", "content": "yes"}]}
        done = {"thread_id": thread, "run_id": f"graph-{number}", "status": "success", "values": values}
        assert call(store, people.agent, done).status == 200
    assert len(runs_of(store, thread)) == MOST
    assert ask(strict, thread).status_code == 429


def test_a_repeat_of_what_is_stored_is_never_limited(strict: Site, thread: str) -> None:
    first = ask(strict, thread, client_id="c1")
    for number in range(2, MOST + 1):
        ask(strict, thread, client_id=f"c{number}")
    assert ask(strict, thread, client_id="new").status_code == 429
    again = ask(strict, thread, client_id="c1")
    assert (again.status_code, again.headers["Idempotent-Replay"]) == (201, "true")
    assert again.json["id"] == first.json["id"]
    assert ask(strict, thread, client_id="new").status_code == 429, "a refusal is no answer that is kept"


def test_every_way_to_ask_is_limited(
    strict: Site, store: Store, people: SimpleNamespace, thread: str, clock: SimpleNamespace
) -> None:
    for number in range(MOST):
        question = ask(strict, thread).json
        ends = {"status": "error", "error": "no"} if number == MOST - 1 else spoken()
        run = newest_run(store, thread)["id"]
        store.write(lambda s: outbox.claim(s, 5.0))
        assert call(store, people.agent, {"thread_id": thread, "run_id": run, **ends}).status == 200
    ways = {
        f"/threads/{thread}/messages": ("POST", {"text": "more"}),
        f"/threads/{thread}/retry": ("POST", None),
        f"/threads/{thread}/regenerate": ("POST", {}),
        f"/messages/{question['id']}": ("PATCH", {"text": "otherwise"}),
    }
    before = runs_of(store, thread), texts(store, people.alice, thread)
    for path, (method, body) in ways.items():
        refused = strict.call("alice", method, path, body)
        assert (refused.status_code, refused.json["error"]["code"]) == (429, "too_many_answers"), path
    assert (runs_of(store, thread), texts(store, people.alice, thread)) == before
    clock.passed = 60_001
    assert strict.call("alice", "POST", f"/threads/{thread}/retry").status_code == 201


def test_of_many_who_ask_at_once_so_many_are_let_through(store: Store, people: SimpleNamespace, thread: str) -> None:
    limited = Limits(answers_per_minute=MOST)

    def one() -> bool:
        try:
            store.write(limited.on(lambda s: messages.say(s, people.alice, thread, "Hello?")))
        except TooMany:
            return False
        return True

    asking = [gevent.spawn(one) for _ in range(3 * MOST)]
    assert sum(task.get(timeout=20) for task in asking) == MOST


def used(store: Store) -> list[int]:
    return store.read(lambda s: list(s.scalars(select(Usage.tokens))))


def cost(**usage: Any) -> dict[str, Any]:
    return {"type": "metadata", "usage": usage}


def test_what_answers_cost_is_added_up_and_a_tenant_that_has_used_its_day_is_told(
    strict: Site, store: Store, people: SimpleNamespace, thread: str, clock: SimpleNamespace
) -> None:
    for each, usage in enumerate(({"total_tokens": 600}, {"input_tokens": 300, "output_tokens": 99})):
        assert ask(strict, thread).status_code == 201, "the day is not used up yet"
        run = newest_run(store, thread)["id"]
        said = [token("yes"), cost(**usage), {"type": "done"}]
        assert write(store, people.agent, thread, run, *said, index=0).status == 200
        assert write(store, people.agent, thread, run, *said, index=0).status == 200, "it may come twice"
        assert used(store) == [[600], [999]][each]
    assert ask(strict, thread).status_code == 201
    run = newest_run(store, thread)["id"]
    write(store, people.agent, thread, run, cost(total_tokens=1), {"type": "error", "message": "no"}, index=0)
    clock.passed = 60_001
    refused = ask(strict, thread)
    error = refused.json["error"]
    assert (refused.status_code, error["code"]) == (429, "too_many_tokens")
    assert 0 < error["retry_after"] <= 86_400
    assert ask(strict, open_thread(store, people.bob), "bob").status_code == 429, "it is the tenant's"
    assert ask(strict, open_thread(store, people.charlie), "charlie").status_code == 201
    store.write(lambda s: s.execute(update(Usage).values(day=Usage.day - 1)))
    assert ask(strict, thread).status_code == 201, "a new day"


@pytest.mark.parametrize(("told", "kept"), [(-5, 0), (10**15, limits.MOST)])
def test_a_cost_that_cannot_be_is_bounded(
    store: Store, people: SimpleNamespace, thread: str, told: int, kept: int
) -> None:
    """From a webhook it is refused; a model that a worker asks tells what it likes."""
    say(store, people.alice, thread)
    run, scribe = newest_run(store, thread)["id"], Scribe(store, lambda *_: None, 60.0)
    refused = write(store, people.agent, thread, run, cost(total_tokens=told), index=0)
    assert (refused.status, used(store)) == (400, [])
    with scribe.writing(people.agent, thread, run) as writing:
        for event in (Token("yes"), Metadata(usage=Cost(total_tokens=told)), Done()):
            writing.take(event)
    assert used(store) == [kept]


def test_answers_that_end_at_once_are_all_counted(store: Store, people: SimpleNamespace) -> None:
    """Also the day's first, of which each would enter the row."""
    threads = [open_thread(store, who) for who in (people.alice, people.bob, people.olga)]
    for who, thread in zip((people.alice, people.bob, people.olga), threads, strict=True):
        say(store, who, thread)
    runs = [newest_run(store, thread)["id"] for thread in threads]
    said = [token("yes"), cost(total_tokens=10), {"type": "done"}]
    ending = [
        gevent.spawn(write, store, people.agent, thread, run, *said, index=0)
        for thread, run in zip(threads, runs, strict=True)
    ]
    assert [task.get(timeout=20).status for task in ending] == [200, 200, 200]
    assert used(store) == [30]
