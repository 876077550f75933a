"""Two modes and a way out, at the doors: answers by REST, and streams by long polling."""

from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from agents import outbox
from chat.store import StoreAway
from tests.acts import call, newest_run, open_thread, say, spoken, told
from tests.site import Site
from tests.until import until

BAD = ["-1", "121", "1.5", "x", "", "1e2", "٣"]


@pytest.fixture
def thread(site: Site) -> str:
    return open_thread(site.store, site.people.alice)


@pytest.fixture
def waiting(site: Site, thread: str) -> Iterator[Any]:
    """Alice asks by REST, and waits; her request is a greenlet. Commits ring as they do under a server."""
    hub = site.app.extensions["hub"]
    site.store.after_commit = lambda committed: [hub._heard(*each) for each in committed]
    task = gevent.spawn(ask, site, thread, 60)
    until(lambda: hub.streams)
    yield task
    hub.drain()
    task.kill()


def ask(site: Site, thread: str, wait: object, who: str = "alice", **more: Any) -> Any:
    return site.call(who, "POST", f"/threads/{thread}/messages?wait={wait}", {"text": "Hello?", **more})


def answer(site: Site, thread: str, **said: Any) -> None:
    run = newest_run(site.store, thread)["id"]
    site.store.write(lambda s: outbox.claim(s, 5.0))
    assert call(site.store, site.people.agent, {"thread_id": thread, "run_id": run, **said}).status == 200


def test_what_an_agent_says_by_itself_meanwhile_is_not_the_answer(site: Site, thread: str) -> None:
    asked = {"text": "Hello?", "client_id": "c1"}
    site.call("alice", "POST", f"/threads/{thread}/messages", asked)
    site.store.write(lambda s: outbox.accepted(s, outbox.claim(s, 5.0)))
    call(site.store, site.people.agent, {"thread_id": thread, "run_id": "job-7", **spoken("It rains.")})
    again = site.call("alice", "POST", f"/threads/{thread}/messages?wait=1", asked)
    assert (again.json["answer"], again.json["run"]["status"]) == (None, "running")


def test_a_question_is_answered_in_its_own_request(site: Site, thread: str, waiting: Any) -> None:
    answer(site, thread, **spoken("Hello, Alice!"))
    done = waiting.get(timeout=10)
    assert done.status_code == 201
    assert done.json["message"]["text"] == "Hello?"
    assert (done.json["answer"]["text"], done.json["run"]["status"]) == ("Hello, Alice!", "success")
    assert done.json["run"]["id"] == done.json["answer"]["run_id"]
    assert set(done.json) == {"message", "answer", "run"}
    assert not site.app.extensions["hub"].streams


@pytest.mark.parametrize(
    ("said", "status", "text"),
    [
        ({"status": "interrupted", "values": {"__interrupt__": [{"value": "Sure?"}]}}, "waiting", "Sure?"),
        ({"status": "error", "error": "boom"}, "error", None),
        ({"status": "timeout"}, "timeout", None),
    ],
)
def test_whatever_the_end_is_it_is_told(
    site: Site, thread: str, waiting: Any, said: dict[str, Any], status: str, text: str | None
) -> None:
    answer(site, thread, **said)
    done = waiting.get(timeout=10).json
    assert (done["run"]["status"], done["answer"] and done["answer"]["text"]) == (status, text)


def test_what_happens_elsewhere_is_no_answer(site: Site, thread: str, waiting: Any) -> None:
    other = open_thread(site.store, site.people.alice)
    say(site.store, site.people.alice, other)
    answer(site, other, **spoken())
    assert not waiting.ready()
    answer(site, thread, **spoken("mine"))
    assert waiting.get(timeout=10).json["answer"]["text"] == "mine"


@pytest.mark.parametrize("wait", [0, 1])
def test_if_there_is_no_answer_in_time_the_message_is_stored_all_the_same(site: Site, thread: str, wait: int) -> None:
    done = ask(site, thread, wait)
    assert (done.status_code, done.json["answer"], done.json["run"]["status"]) == (201, None, "queued")
    assert not site.app.extensions["hub"].streams


def test_a_repeat_is_given_the_answer_that_is_there(site: Site, thread: str) -> None:
    first = ask(site, thread, 0, client_id="c1")
    answer(site, thread, **spoken("there"))
    again = ask(site, thread, 60, client_id="c1")
    assert (again.status_code, again.headers["Idempotent-Replay"]) == (201, "true")
    assert (again.json["message"]["id"], again.json["answer"]["text"]) == (first.json["message"]["id"], "there")


def test_a_server_that_leaves_or_a_right_that_ends_answers_without_an_answer(
    site: Site, thread: str, waiting: Any
) -> None:
    site.app.extensions["hub"].drain()
    done = waiting.get(timeout=10)
    assert (done.status_code, done.json["answer"], done.json["run"]["status"]) == (201, None, "queued")
    assert ask(site, thread, 60).json["answer"] is None, "nobody waits here any more"


def test_what_was_stored_is_never_answered_by_an_error(
    site: Site, thread: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise StoreAway("away")

    monkeypatch.setattr("blueprints.outcomes.run_of", away)
    done = ask(site, thread, 60)
    assert (done.status_code, done.json["answer"], done.json["run"]) == (201, None, None)


def test_a_thread_that_is_deleted_will_have_no_answer(site: Site, thread: str, waiting: Any) -> None:
    hub = site.app.extensions["hub"]
    assert site.call("alice", "DELETE", f"/threads/{thread}").status_code == 204
    hub._check_heads()  # the doors have a store of their own, which nobody hears
    done = waiting.get(timeout=10)
    assert (done.status_code, done.json["answer"], done.json["run"]) == (201, None, None)


@pytest.mark.parametrize("wait", BAD)
def test_a_wait_that_is_none_is_refused_before_anything_is_stored(site: Site, thread: str, wait: str) -> None:
    before = told(site.store, site.people.alice.participant_id)
    for method, path in (
        ("POST", f"/threads/{thread}/messages"),
        ("GET", f"/threads/{thread}/events"),
        ("GET", "/stream"),
    ):
        body = {"text": "Hello?"} if method == "POST" else None
        refused = site.call("alice", method, f"{path}?wait={wait}", body)
        assert (refused.status_code, refused.json["error"]["field"]) == (400, "wait"), path
    assert told(site.store, site.people.alice.participant_id) == before


def poll(site: Site, path: str, cursor: str = "", who: str = "alice", **more: Any) -> Any:
    joined = "&" if "?" in path else "?"
    return site.call(who, "GET", f"{path}{joined}wait=0&last_event_id={cursor}", **more)


@pytest.mark.parametrize("path", ["/stream", "/threads/{}/events"])
def test_a_poll_tells_as_json_what_a_stream_would(site: Site, thread: str, path: str) -> None:
    start = poll(site, path.format(thread)).json["cursor"]
    message = say(site.store, site.people.alice, thread)
    done = poll(site, path.format(thread), start)
    assert (done.status_code, done.mimetype, done.headers["Cache-Control"]) == (200, "application/json", "no-store")
    kinds = [event["event"] for event in done.json["events"]]
    assert kinds[0] == "ready"
    assert "run" in kinds
    [event] = [event for event in done.json["events"] if event["event"] == "message"]
    assert event["data"] == {**message, "change": "created"}
    assert done.json["cursor"] == done.json["events"][-1]["id"]
    assert poll(site, path.format(thread), done.json["cursor"]).json["events"] == []
    header = poll(site, path.format(thread), "x", headers={"Last-Event-ID": done.json["cursor"]})
    assert header.json["events"] == [], "the header wins"


@pytest.mark.parametrize(("who", "status"), [("anonymous", 401), ("bob", 404), ("charlie", 404), ("olga", 200)])
def test_who_may_not_read_a_stream_may_not_poll_it(site: Site, thread: str, who: str, status: int) -> None:
    assert poll(site, f"/threads/{thread}/events", who=who).status_code == status


def test_a_poll_is_counted_and_refused_softly_as_a_stream_is(site: Site, thread: str) -> None:
    site.app.extensions["hub"].census.most = 1
    site.app.extensions["hub"].census._away_until = float("inf")
    cursor = poll(site, "/stream").json["cursor"]
    waiting = gevent.spawn(site.call, "alice", "GET", f"/stream?wait=60&last_event_id={cursor}")
    until(lambda: site.app.extensions["hub"].streams)
    refused = poll(site, "/stream", cursor)
    assert (refused.status_code, [event["event"] for event in refused.json["events"]]) == (200, ["bye"])
    assert (refused.json["cursor"], refused.json["events"][0]["data"]["reason"]) == (cursor, "limit")
    assert poll(site, "/stream", who="bob").json["events"][0]["event"] == "ready"
    site.app.extensions["hub"].drain()
    assert waiting.get(timeout=10).json["events"][-1]["data"]["reason"] == "drain"


def test_a_store_that_is_away_is_a_bye_and_no_error(site: Site, thread: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise StoreAway("away")

    monkeypatch.setattr("blueprints.streams.threads.fetch", away)
    done = poll(site, f"/threads/{thread}/events", "e1.1")
    assert (done.status_code, done.json["cursor"]) == (200, "e1.1")
    assert [event["event"] for event in done.json["events"]] == ["bye"]
