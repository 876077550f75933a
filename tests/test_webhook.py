"""The webhook's door: who may post there, in what form, and what is answered (P40, P41, P47, P50, S13-S16)."""

import io
import json
import time
import tracemalloc
from typing import Any

import pytest
from werkzeug.test import TestResponse

from chat import accounts, agents
from chat.models import Agent
from chat.signatures import sign
from tests.acts import ledger, newest_run, open_thread, say, texts
from tests.site import Site

DOOR = "/webhook/chat-response"
MIB = 1024 * 1024


@pytest.fixture
def thread(site: Site) -> str:
    return open_thread(site.store, site.people.alice)


def body(thread: str, text: str = "Hello!") -> bytes:
    return json.dumps({"thread_id": thread, "message": {"text": text}}).encode()


def signed(site: Site, agent: Agent, body: bytes, id: str = "k1", at: float = 0) -> dict[str, str]:
    return sign(site.secret_of(agent), id, int(time.time() + at), body)


def post(site: Site, body: bytes, headers: dict[str, str], path: str = DOOR, **more: Any) -> TestResponse:
    return site.app.test_client().post(path, data=body, headers=headers, **more)


def bearer(token: str, key: str = "k1") -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", "Idempotency-Key": key}


def test_an_agent_may_sign_or_show_its_token(site: Site, thread: str) -> None:
    by_signature = post(site, body(thread, "signed"), signed(site, site.people.agent, body(thread, "signed")))
    by_token = post(site, body(thread, "shown"), bearer(site.people.agent_token, "k2"))
    assert (by_signature.status_code, by_token.status_code) == (200, 200)
    assert texts(site.store, site.people.alice, thread) == ["signed", "shown"]


@pytest.mark.parametrize("kind", [None, "", "application/json", "text/plain", "application/x-www-form-urlencoded", "x"])
def test_a_body_is_read_whatever_it_says_it_is(site: Site, thread: str, kind: str | None) -> None:
    """P41: LangGraph names no Content-Type."""
    sent = body(thread)
    answer = post(site, sent, signed(site, site.people.agent, sent), content_type=kind)
    assert answer.status_code == 200
    assert texts(site.store, site.people.alice, thread) == ["Hello!"]


def test_without_a_valid_credential_nothing_is_stored_and_every_refusal_looks_alike(site: Site, thread: str) -> None:
    """P40, S13: not even a row in the ledger, which anybody could fill."""
    sent = body(thread)
    good = signed(site, site.people.agent, sent)
    forged: list[dict[str, str]] = [
        {},
        {**good, "webhook-signature": "v1," + "A" * 44},
        {**good, "webhook-signature": ""},
        {**good, "webhook-signature": "é"},
        {**good, "webhook-signature": good["webhook-signature"].replace("v1,", "v2,")},
        {**good, "webhook-id": "k2"},
        {**good, "webhook-timestamp": str(int(time.time()) - 1)},
        {**good, "webhook-timestamp": "+" + good["webhook-timestamp"]},
        {**good, "webhook-timestamp": "9" * 40},
        {name: value for name, value in good.items() if name != "webhook-id"},
        {name: value for name, value in good.items() if name != "webhook-timestamp"},
        signed(site, site.people.agent, sent, at=-310),
        signed(site, site.people.agent, sent, at=310),
        signed(site, site.people.agent, sent + b" "),
        signed(site, site.people.evil_agent, sent),
        bearer("x"),
        bearer(""),
        bearer(site.people.agent_token[:-1]),
        bearer(site.keys["alice"]),
        {"Authorization": f"Basic {site.people.agent_token}"},
    ]
    answers = [post(site, sent, headers) for headers in forged]
    assert {(answer.status_code, answer.data) for answer in answers} == {(401, answers[0].data)}
    assert ledger(site.store) == []
    assert texts(site.store, site.people.alice, thread) == []
    assert post(site, sent, good).status_code == 200


FRESH, STALE = "now", str(int(time.time()) - 1000)


@pytest.mark.parametrize(
    ("headers", "is_read"),
    [
        ({}, False),
        (bearer("x"), False),
        ({"webhook-id": "1", "webhook-timestamp": STALE, "webhook-signature": "v1,x"}, False),
        ({"webhook-id": "1", "webhook-timestamp": "x", "webhook-signature": "v1,x"}, False),
        ({"webhook-id": "1", "webhook-timestamp": FRESH}, False),
        ({"webhook-timestamp": FRESH, "webhook-signature": "v1,x"}, False),
        ({"webhook-id": "1", "webhook-timestamp": FRESH, "webhook-signature": "v1,x"}, True),
    ],
)
def test_who_does_not_even_claim_to_be_an_agent_has_his_body_left_unread(
    site: Site, headers: dict[str, str], is_read: bool
) -> None:
    """Megabytes are work, and these come from nobody."""
    coming = io.BytesIO(b" " * 3 * MIB)
    headers = {name: value.replace(FRESH, str(int(time.time()))) for name, value in headers.items()}
    answer = site.app.test_client().post(DOOR, input_stream=coming, headers=headers)
    assert answer.status_code == 401
    assert coming.tell() == (3 * MIB if is_read else 0)
    assert ledger(site.store) == []


@pytest.mark.parametrize("what", [b"[]", b"{}", b'"x"', b"[[[[[[[[[]]]]]]]]]"])
def test_what_a_stranger_sends_is_not_built_in_memory(site: Site, thread: str, what: bytes) -> None:
    """A list of lists is twenty times as large built as it is written."""
    sent = b'{"values":[' + b",".join([what] * (2 * MIB // len(what))) + b'],"thread_id":"%s"}' % thread.encode()
    forged = {**signed(site, site.people.agent, sent), "webhook-signature": "v1," + "A" * 44}
    tracemalloc.start()
    try:
        answer = post(site, sent, forged)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer.status_code == 401
    assert ledger(site.store) == []
    assert len(sent) < peak < 6 * len(sent)


def test_the_thread_that_a_body_names_is_found_wherever_it_stands(site: Site, thread: str) -> None:
    """Of many agents only the thread's own secret is tried, so it must be known before anything else is read."""
    for number in range(agents.FEW):
        site.store.write(
            lambda s, name=f"agent {number}": agents.add_agent(s, accounts.add_tenant(s, "Acme"), name, "http://x")
        )
    first = body(thread, "first")
    last = json.dumps({"message": {"text": "last", "data": {"thread_id": "no"}}, "thread_id": thread}).encode()
    for key, sent in (("k1", first), ("k2", last)):
        assert post(site, sent, signed(site, site.people.agent, sent, key)).status_code == 200
    for sent in (b"", b"{", b"[" * 100_000, b"\xff", b'{"thread_id":1}', b'{"thread_id":"\\ud800"}', body("nowhere")):
        assert post(site, sent, signed(site, site.people.agent, sent, "k3")).status_code == 401, sent[:20]
    assert texts(site.store, site.people.alice, thread) == ["first", "last"]


@pytest.mark.parametrize("where", ["?token={}", "?access_token={}", "?agent={}"])
def test_a_token_in_the_url_is_none(site: Site, thread: str, where: str) -> None:
    assert post(site, body(thread), {}, DOOR + where.format(site.people.agent_token)).status_code == 401


def test_an_agents_credentials_are_good_for_its_own_threads_alone(site: Site, thread: str) -> None:
    """S16."""
    theirs = open_thread(site.store, site.people.charlie)
    agents = [(site.people.agent, site.people.agent_token), (site.people.evil_agent, site.people.evil_agent_token)]
    for row, (agent, token) in enumerate(agents):
        for column, target in enumerate((thread, theirs)):
            sent = body(target)
            by_token = post(site, sent, bearer(token, f"t{column}"))
            named = post(site, sent, signed(site, agent, sent, f"s{column}"), f"{DOOR}?agent={agent.id}")
            unnamed = post(site, sent, signed(site, agent, sent, f"u{column}"))
            expected = (200, 200, 200) if row == column else (404, 404, 401)
            assert (by_token.status_code, named.status_code, unnamed.status_code) == expected
    assert texts(site.store, site.people.alice, thread) == texts(site.store, site.people.charlie, theirs)


def test_a_name_in_the_url_is_no_credential(site: Site, thread: str) -> None:
    sent = body(thread)
    for named in (site.people.agent.id, site.people.evil_agent.id, "nobody", ""):
        assert post(site, sent, {}, f"{DOOR}?agent={named}").status_code == 401
    headers = signed(site, site.people.agent, sent)
    assert post(site, sent, headers, f"{DOOR}?agent={site.people.evil_agent.id}").status_code == 401


def test_an_unknown_thread_is_404_and_entered(site: Site) -> None:
    sent = body("nowhere")
    answer = post(site, sent, signed(site, site.people.agent, sent))
    assert (answer.status_code, answer.json["error"]["code"]) == (404, "unknown_thread")
    assert ledger(site.store) == [(404, "unknown_thread")]


def test_what_cannot_be_taken_is_refused_and_entered_with_its_reason(site: Site, thread: str) -> None:
    people = site.people
    for sent, outcome in ((b"", "bad_json"), (b"hi", "bad_json"), (b"{}", "invalid"), (b"[" * 100_000, "too_deep")):
        answer = post(site, sent, bearer(people.agent_token))
        assert (answer.status_code, answer.json["error"]["code"]) == (400, outcome)
        assert ledger(site.store)[-1] == (400, outcome)
    no_key = post(site, body(thread), {"Authorization": f"Bearer {people.agent_token}"})
    assert (no_key.status_code, no_key.json["error"]["code"]) == (400, "no_key")


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_a_webhook_has_a_limit_of_its_own_and_its_reason_is_entered(site: Site, thread: str, more: int) -> None:
    """P50."""
    sent = body(thread) + b" " * (4 * 1024 * 1024 - len(body(thread)) + more)
    answer = post(site, sent, bearer(site.people.agent_token))
    assert answer.status_code == (413 if more > 0 else 200)
    assert ledger(site.store) == [(413, "too_large") if more > 0 else (200, "received")]


def test_too_large_a_body_without_a_token_is_413_without_a_row(site: Site) -> None:
    signed = {"webhook-id": "1", "webhook-timestamp": str(int(time.time())), "webhook-signature": "v1,x"}
    answer = post(site, b" " * (4 * 1024 * 1024 + 1), signed)
    assert (answer.status_code, answer.json["error"]["code"]) == (413, "too_large")
    assert ledger(site.store) == []


def test_a_repeat_has_the_same_answer_and_says_so(site: Site, thread: str) -> None:
    """S15: the same delivery again, signed anew or not, is stored once."""
    sent = body(thread)
    first = post(site, sent, signed(site, site.people.agent, sent))
    for again in (signed(site, site.people.agent, sent, at=-200), signed(site, site.people.agent, sent, at=200)):
        answer = post(site, sent, again)
        assert (answer.status_code, answer.data) == (200, first.data)
        assert answer.headers["Idempotent-Replay"] == "true"
    assert "Idempotent-Replay" not in first.headers
    other = body(thread, "other")
    assert post(site, other, signed(site, site.people.agent, other)).status_code == 409
    assert post(site, sent, signed(site, site.people.agent, sent, "k2")).status_code == 200
    assert texts(site.store, site.people.alice, thread) == ["Hello!", "Hello!"]


def test_a_webhook_may_come_from_anywhere(site: Site, thread: str) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Origin": "https://agents.example.com"}
    assert post(site, body(thread), {**bearer(site.people.agent_token), **headers}).status_code == 200


def test_what_langgraph_posts_answers_the_question(site: Site, thread: str) -> None:
    say(site.store, site.people.alice, thread)
    run = {
        "run_id": "theirs",
        "thread_id": thread,
        "assistant_id": "a",
        "metadata": {},
        "kwargs": {},
        "status": "success",
    }
    sent = json.dumps({**run, "values": {"messages": [{"type": "ai", "content": "Hello!"}]}}).encode()
    headers = {"Authorization": f"Bearer {site.people.agent_token}"}
    assert post(site, sent, headers).json["status"] == "received"
    assert newest_run(site.store, thread)["status"] == "success"
    assert texts(site.store, site.people.alice, thread) == ["Hello?", "Hello!"]
