"""What no database can hold is the sender's mistake on each of them alike: a 4xx, never a 500, never a 503."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.acts import history, open_thread
from tests.site import Site

HUGE = 10**30
LONG = "x" * 100_000


@pytest.fixture
def thread(site: Site) -> str:
    return open_thread(site.store, site.people.alice)


def said(thread: str, **more: Any) -> dict[str, Any]:
    return {"thread_id": thread, "message": {"text": "Hello!"}, **more}


# door, what is sent
ODD: list[tuple[str, str, Any]] = [
    ("GET", "/threads?before=999999999999999.%00", None),
    ("GET", f"/threads?before=999999999999999.{LONG}", None),
    ("GET", f"/threads?before={HUGE}.x", None),
    ("GET", f"/threads?limit={HUGE}", None),
    ("GET", f"/threads/THREAD/messages?before={HUGE}", None),
    ("GET", f"/threads/THREAD/messages?after={2**63}", None),
    ("GET", f"/threads/THREAD/messages?after=-{2**63}", None),
    ("GET", f"/threads/{LONG}/messages", None),
    ("GET", "/chat/%00", None),
    ("POST", "/threads", {"agent": "\0"}),
    ("POST", "/threads", {"agent": LONG}),
    ("POST", "/threads", {"agent": "echo", "title": "\0"}),
    ("POST", "/threads", {"agent": "echo", "title": LONG}),
    ("POST", "/threads", b'{"agent": "echo", "title": "\\ud800"}'),
    ("POST", "/threads/THREAD/read", {"seq": HUGE}),
    ("POST", "/threads/THREAD/read", {"seq": -HUGE}),
    ("POST", "/threads/THREAD/read", {"seq": 2**63}),
    ("POST", "/threads/THREAD/read", {"seq": -(2**63)}),
    ("POST", "/threads/THREAD/messages", b'{"text": "x", "data": {"n": ' + b"9" * 5000 + b"}}"),
    ("POST", "/threads/THREAD/messages", b'{"text": "x", "data": {"n": 1e999}}'),
    ("POST", "/threads/THREAD/messages", {"text": "x", "data": {"\0": 1}}),
    ("POST", "/threads/THREAD/messages", {"text": "x", "client_id": "\0"}),
    ("POST", "/threads/THREAD/messages", {"text": "x", "client_id": LONG}),
    ("POST", "/login", {"name": "\0", "password": "\0"}),
    ("POST", "/login", {"name": LONG, "password": "x"}),
]


@pytest.mark.parametrize(("method", "path", "body"), ODD, ids=range(len(ODD)))
def test_a_person_who_sends_it_is_told(site: Site, thread: str, method: str, path: str, body: Any) -> None:
    answer = site.call("alice", method, path.replace("THREAD", thread), body)
    assert answer.status_code < 500
    # A number beyond all that there is has a meaning: to have read everything, or nothing.
    assert answer.status_code >= 400 or "/read" in path or method == "GET", answer.data
    assert history(site.store, site.people.alice, thread)["items"] == []


ODD_ANSWERS: list[tuple[str, Any]] = [
    ("", said("\0")),
    ("", said("THREAD", run_id="\0")),
    ("", said("THREAD", run_id=LONG)),
    ("", {"thread_id": "THREAD", "message": {"data": {"\0": "\0"}}}),
    ("", {"thread_id": "THREAD", "run_id": "\0", "status": "success", "values": {}}),
    ("?agent=%00", said("THREAD")),
    (f"?agent={LONG}", {"thread_id": LONG, "message": {"text": "x"}}),
]


@pytest.mark.parametrize(("query", "body"), ODD_ANSWERS, ids=range(len(ODD_ANSWERS)))
@pytest.mark.parametrize("known", [True, False], ids=["by token", "unsigned"])
def test_an_agent_that_sends_it_is_told(site: Site, thread: str, query: str, body: Any, known: bool) -> None:
    sent = json.dumps(body).replace("THREAD", thread).encode()
    signature = {"webhook-id": "1", "webhook-timestamp": str(int(time.time())), "webhook-signature": "v1,x"}
    token = {"Authorization": f"Bearer {site.people.agent_token}", "Idempotency-Key": "k1"}
    answer = site.app.test_client().post(
        f"/webhook/chat-response{query}", data=sent, headers=token if known else signature
    )
    if known and query == "?agent=%00":
        assert answer.status_code == 200  # its token says who it is
    else:
        assert 400 <= answer.status_code < 500, answer.data


def test_a_number_of_any_size_is_given_back_as_it_was(site: Site, thread: str) -> None:
    data = {"n": [HUGE, -HUGE, 2**64, 2**63, -(2**63) - 1, 1.5e300, 5e-324, 0.1]}
    path = f"/threads/{thread}/messages"
    assert site.call("alice", "POST", path, {"text": "x", "data": data}).status_code == 201
    [message] = site.call("alice", "GET", path).json["items"]
    assert message["data"] == data


def test_the_longest_names_that_are_taken_fit_into_every_index(site: Site, thread: str) -> None:
    """Four bytes a character: PostgreSQL's index takes 2,700 bytes."""
    wide = "\N{GRINNING FACE}"
    say = {"text": "x", "client_id": wide * 100}
    assert site.call("alice", "POST", f"/threads/{thread}/messages", say).status_code == 201
    headers = {"Authorization": f"Bearer {site.people.agent_token}", "Idempotency-Key": "k" * 255}
    sent = json.dumps(said(thread, run_id=wide * 200))
    assert site.app.test_client().post("/webhook/chat-response", data=sent, headers=headers).status_code == 200
