"""The webhook from outside: who is let in, what is refused, and that a repeat is one message (P40-P47, P50)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from http.client import HTTPConnection
from typing import Any
from uuid import uuid4

import gevent
import pytest
from sqlalchemy import func, select
from standardwebhooks import Webhook

from chat.models import Delivery, Message
from tests.live.people import Person, agent_by_command, store_of
from tests.live.reader import Reader, named, texts
from tests.server import Server
from tests.until import until

PATH = "/webhook/chat-response"
MIB = 1024 * 1024

Answer = tuple[int, dict[str, str], bytes]


@pytest.fixture(scope="module")
def server(either_server: Server) -> Server:
    return either_server


def native(thread_id: str, text: str, **more: object) -> bytes:
    return json.dumps({"thread_id": thread_id, "message": {"text": text}, **more}).encode()


def signed(server: Server, body: bytes, id: str = "", age: float = 0, secret: str = "") -> dict[str, str]:
    """Headers by another's implementation of Standard Webhooks."""
    id, at = id or uuid4().hex, datetime.fromtimestamp(time.time() - age, UTC)
    signature = Webhook(secret or server.webhook_secret).sign(id, at, body.decode())
    return {"webhook-id": id, "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature}


def post(server: Server, body: bytes, headers: dict[str, str] | None = None) -> Answer:
    """Post as it is, as a program with its own HTTP stack would: no Content-Type unless it is given."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("POST", PATH, body, headers or {})
    response = connection.getresponse()
    answer = response.status, dict(response.headers), response.read()
    connection.close()
    return answer


def bearer(server: Server, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {server.agent_token}", **more}


# Once, however often


def by_key(server: Server, thread_id: str) -> tuple[bytes, dict[str, str]]:
    return native(thread_id, "said once"), bearer(server, **{"Idempotency-Key": "the-key-" + thread_id})


def by_run(server: Server, thread_id: str) -> tuple[bytes, dict[str, str]]:
    return native(thread_id, "said once", run_id="run-" + thread_id), bearer(server)


def by_signature(server: Server, thread_id: str) -> tuple[bytes, dict[str, str]]:
    body = native(thread_id, "said once")
    return body, signed(server, body, id="msg_" + thread_id)


@pytest.mark.parametrize("how", [by_key, by_run, by_signature])
def test_a_webhook_that_comes_twenty_times_at_once_is_one_message_and_twenty_equal_answers(
    server: Server, alice: Person, how: Callable[[Server, str], tuple[bytes, dict[str, str]]]
) -> None:
    thread_id = alice.new_thread()
    body, headers = how(server, thread_id)
    with alice.reader() as reader:
        reader.wait("ready")
        tasks = [gevent.spawn(post, server, body, headers) for _ in range(20)]
        answers = [task.get() for task in tasks]
        assert post(server, body, headers)[2] == answers[0][2]  # and once more, later
        server.reply(thread_id, "the end", "end-" + thread_id)
        reader.wait_for_text("the end")
    assert {(status, content) for status, _, content in answers} == {(200, answers[0][2])}
    assert sum("Idempotent-Replay" not in answer for _, answer, _ in answers) == 1
    assert texts(reader.events) == ["said once", "the end"]
    assert [message["text"] for message in alice.history(thread_id)] == ["said once", "the end"]
    assert json.loads(answers[0][2])["message_id"] == alice.history(thread_id)[0]["id"]


def test_the_same_key_with_another_text_is_refused(server: Server, alice: Person) -> None:
    thread_id = alice.new_thread()
    body, headers = by_key(server, thread_id)
    assert post(server, body, headers)[0] == 200
    status, _, content = post(server, native(thread_id, "something else"), headers)
    assert (status, json.loads(content)["error"]["code"]) == (409, "key_reused")
    assert len(alice.history(thread_id)) == 1


# Refused

Refused = Callable[[Server, str], Answer]


def unsigned(server: Server, thread_id: str) -> Answer:
    return post(server, native(thread_id, "x", run_id="r"))


def unknown_token(server: Server, thread_id: str) -> Answer:
    return post(server, native(thread_id, "x", run_id="r"), {"Authorization": "Bearer agent_nobody"})


def a_persons_key(server: Server, thread_id: str) -> Answer:
    return post(server, native(thread_id, "x", run_id="r"), {"Authorization": f"Bearer {server.token}"})


def badly_signed(server: Server, thread_id: str) -> Answer:
    body = native(thread_id, "x")
    return post(server, body, signed(server, body, secret="whsec_" + "A" * 44))


def signed_for_another_body(server: Server, thread_id: str) -> Answer:
    return post(server, native(thread_id, "another"), signed(server, native(thread_id, "x")))


def signed_then_written_again(server: Server, thread_id: str) -> Answer:
    body = native(thread_id, "x")
    return post(server, json.dumps(json.loads(body), indent=1).encode(), signed(server, body))


def stale(server: Server, thread_id: str) -> Answer:
    body = native(thread_id, "x")
    return post(server, body, signed(server, body, age=302))


def from_the_future(server: Server, thread_id: str) -> Answer:
    body = native(thread_id, "x")
    return post(server, body, signed(server, body, age=-310))


def half_signed(server: Server, thread_id: str) -> Answer:
    body = native(thread_id, "x")
    return post(server, body, {"webhook-signature": signed(server, body)["webhook-signature"]})


def unknown_thread(server: Server, thread_id: str) -> Answer:
    return post(server, native(str(uuid4()), "x", run_id="r"), bearer(server))


def no_json(server: Server, thread_id: str) -> Answer:
    return post(server, b"thread_id=" + thread_id.encode(), bearer(server))


def no_object(server: Server, thread_id: str) -> Answer:
    return post(server, b"[]", bearer(server))


def empty(server: Server, thread_id: str) -> Answer:
    return post(server, b"", bearer(server))


def not_utf8(server: Server, thread_id: str) -> Answer:
    return post(server, native(thread_id, "x", run_id="r").replace(b'"x"', b'"\xff"'), bearer(server))


def a_lone_surrogate(server: Server, thread_id: str) -> Answer:
    return post(server, native(thread_id, "\ud800", run_id="r"), bearer(server))


def nul(server: Server, thread_id: str) -> Answer:
    return post(server, native(thread_id, "\0", run_id="r"), bearer(server))


def very_deep(server: Server, thread_id: str) -> Answer:
    return post(server, b"[" * 100_000 + b"]" * 100_000, bearer(server))


def no_text(server: Server, thread_id: str) -> Answer:
    return post(server, json.dumps({"thread_id": thread_id, "message": {}, "run_id": "r"}).encode(), bearer(server))


def no_key_and_no_run(server: Server, thread_id: str) -> Answer:
    return post(server, native(thread_id, "x"), bearer(server))


def five_megabytes(server: Server, thread_id: str) -> Answer:
    return post(server, native(thread_id, "x" * 5 * MIB, run_id="r"), bearer(server))


def five_megabytes_in_chunks(server: Server, thread_id: str) -> Answer:
    return post_chunks(server, native(thread_id, "x" * 5 * MIB, run_id="r"), bearer(server))


def five_megabytes_from_nobody(server: Server, thread_id: str) -> Answer:
    return post_chunks(server, native(thread_id, "x" * 5 * MIB, run_id="r"), {})


def too_long_a_text(server: Server, thread_id: str) -> Answer:
    return post(server, native(thread_id, "x" * (256 * 1024 + 1), run_id="r"), bearer(server))


def post_chunks(server: Server, body: bytes, headers: dict[str, str]) -> Answer:
    """A body without Content-Length. The server may answer and hang up before it is all sent."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
    parts = [body[i : i + 65536] for i in range(0, len(body), 65536)]
    with suppress(BrokenPipeError, ConnectionResetError):
        connection.request("POST", PATH, iter(parts), headers, encode_chunked=True)
    response = connection.getresponse()
    answer = response.status, dict(response.headers), response.read()
    connection.close()
    return answer


REFUSED: list[tuple[Refused, int]] = [
    (unsigned, 401),
    (unknown_token, 401),
    (a_persons_key, 401),
    (badly_signed, 401),
    (signed_for_another_body, 401),
    (signed_then_written_again, 401),
    (stale, 401),
    (from_the_future, 401),
    (half_signed, 401),
    (unknown_thread, 404),
    (no_json, 400),
    (no_object, 400),
    (empty, 400),
    (not_utf8, 400),
    (a_lone_surrogate, 400),
    (nul, 400),
    (very_deep, 400),
    (no_text, 400),
    (no_key_and_no_run, 400),
    (five_megabytes, 413),
    (five_megabytes_in_chunks, 413),
    (five_megabytes_from_nobody, 401),
    (too_long_a_text, 400),
]


@pytest.mark.parametrize(("send", "status"), REFUSED, ids=lambda part: getattr(part, "__name__", part))
def test_what_is_wrong_is_refused_as_what_it_is_and_nothing_is_stored(
    server: Server, alice: Person, send: Refused, status: int
) -> None:
    thread_id, stored = alice.new_thread(), count(server, Message)
    known = count(server, Delivery)
    answered, headers, content = send(server, thread_id)
    assert answered == status, content
    assert headers["Content-Type"] == "application/json"
    assert set(json.loads(content)["error"]) >= {"code", "message"}
    assert count(server, Message) == stored
    # An agent's mistakes are in the ledger, to be looked up; a stranger's are not, or anyone could fill the disk.
    assert count(server, Delivery) == known + (status != 401)


def test_the_refusals_of_strangers_look_all_alike(server: Server, alice: Person) -> None:
    thread_id = alice.new_thread()
    answers = [send(server, thread_id)[2] for send, status in REFUSED if status == 401]
    assert len(answers) > 5
    assert len(set(answers)) == 1


def test_a_thread_of_another_agent_looks_like_none(server: Server, alice: Person) -> None:
    other = agent_by_command(server, f"other-{uuid4().hex[:8]}", "demo")
    thread_id = alice.new_thread()
    foreign = post(server, native(thread_id, "x", run_id="r"), {"Authorization": f"Bearer {other['agent_token']}"})
    unknown = post(server, native(str(uuid4()), "x", run_id="r"), {"Authorization": f"Bearer {other['agent_token']}"})
    assert (foreign[0], foreign[2]) == (404, unknown[2])
    body = native(thread_id, "x")
    assert post(server, body, signed(server, body, secret=other["webhook_secret"]))[0] == 401
    assert alice.history(thread_id) == []
    assert post(server, body, signed(server, body))[0] == 200  # the right one is let in


@pytest.mark.parametrize("age", [295, -290])
def test_a_clock_that_is_a_little_off_is_forgiven(server: Server, alice: Person, age: int) -> None:
    body = native(alice.new_thread(), "x")
    assert post(server, body, signed(server, body, age=age))[0] == 200


def test_one_of_two_signatures_is_enough_while_a_secret_is_replaced(server: Server, alice: Person) -> None:
    body = native(alice.new_thread(), "x")
    headers = signed(server, body)
    headers["webhook-signature"] = "v1," + "A" * 43 + "= " + headers["webhook-signature"]
    assert post(server, body, headers)[0] == 200


def count(server: Server, table: type[Any]) -> int:
    return store_of(server).peek(lambda session: session.scalar(select(func.count()).select_from(table)) or 0)


# What LangGraph Server really posts: its run object with more, once, without a Content-Type


def langgraph(thread_id: str, run_id: str, status: str, **more: object) -> bytes:
    body = {
        "run_id": run_id,
        "thread_id": thread_id,
        "assistant_id": str(uuid4()),
        "metadata": {"created_by": "system", "graph_id": "agent"},
        "created_at": "2026-01-19T18:37:26.161928+00:00",
        "updated_at": "2026-01-19T18:37:26.161928+00:00",
        "multitask_strategy": "reject",
        "kwargs": {"input": {}, "config": {}, "webhook": "https://chat.example/webhook/chat-response"},
        "status": status,
        "run_started_at": "2026-01-19T18:37:26.2+00:00",
        "run_ended_at": "2026-01-19T18:37:27.2+00:00",
        "webhook_sent_at": "2026-01-19T18:37:27.3+00:00",
        **more,
    }
    return json.dumps(body).encode()


def ai(content: object) -> dict[str, object]:
    return {
        "messages": [{"type": "human", "content": "hello", "id": "1"}, {"type": "ai", "content": content, "id": "2"}]
    }


PARTS = [{"type": "text", "text": "in "}, {"type": "text", "text": "parts"}]
INTERRUPTED = {"values": {"__interrupt__": [{"value": {"question": "Shall I send it?"}, "id": "i"}]}}

# status, the rest of the body -> the run's status, its error, what is said
SEEN = [
    ("success", {"values": ai("the answer")}, "success", None, "the answer"),
    ("success", {"values": ai(PARTS)}, "success", None, "in parts"),
    ("success", {"values": {"messages": []}}, "error", "The agent finished without an answer.", None),
    ("success", {}, "error", "The agent finished without an answer.", None),
    ("error", {"error": "KeyError('x')"}, "error", "KeyError('x')", None),
    ("error", {"error": {"error": "ValueError", "message": "no such tool"}}, "error", "no such tool", None),
    ("error", {"values": {"error": "deep inside"}}, "error", "deep inside", None),
    ("error", {}, "error", "Unknown error", None),
    ("timeout", {}, "timeout", "The agent did not finish in time.", None),
    ("interrupted", INTERRUPTED, "waiting", None, "Shall I send it?"),
    ("interrupted", {}, "waiting", None, "The agent stopped and waits for a decision."),
    ("pending", {}, "running", None, None),
    ("running", {}, "running", None, None),
]  # fmt: skip


@pytest.fixture(scope="module")
def quiet(server: Server) -> dict[str, str]:
    """An agent that is never reached, so that only its webhooks move a run."""
    return agent_by_command(server, "quiet", "demo")


@pytest.mark.parametrize(("status", "rest", "becomes", "error", "says"), SEEN)
def test_every_status_of_langgraph_leads_to_something_a_person_sees(
    server: Server,
    alice: Person,
    quiet: dict[str, str],
    status: str,
    rest: dict[str, object],
    becomes: str,
    error: str | None,
    says: str | None,
) -> None:
    thread_id = alice.new_thread("quiet")
    with alice.reader(f"/threads/{thread_id}/events") as reader:
        question = alice.say(thread_id, "a question")
        headers = {"Authorization": f"Bearer {quiet['agent_token']}"}
        if becomes == "running":
            headers["Idempotency-Key"] = uuid4().hex
        answered, _, content = post(server, langgraph(thread_id, str(uuid4()), status, **rest), headers)
        assert answered == 200, content
        until(lambda: run_seen(reader, question["id"], becomes, error))
        if says:
            said = reader.wait_for_text(says)
            assert said[-1]["direction"] == "outgoing"
    assert texts(reader.events) == (["a question", says] if says else ["a question"])


def run_seen(reader: Reader, message_id: str, status: str, error: str | None) -> bool:
    runs = [event.json for event in named(reader.events, "run")]
    return any((run["message_id"], run["status"], run["error"]) == (message_id, status, error) for run in runs)


def test_a_failure_that_no_question_asked_for_is_told_as_a_notice(server: Server, alice: Person) -> None:
    thread_id = alice.new_thread()
    assert post(server, langgraph(thread_id, str(uuid4()), "error", error="it broke"), bearer(server))[0] == 200
    [notice] = alice.history(thread_id)
    assert (notice["kind"], notice["text"]) == ("notice", "it broke")


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "application/json"])
def test_any_content_type_or_none_will_do(server: Server, alice: Person, kind: str | None) -> None:
    thread_id = alice.new_thread()
    headers = bearer(server, **({"Content-Type": kind} if kind else {}))
    assert post(server, native(thread_id, "x", run_id=uuid4().hex), headers)[0] == 200
    assert len(alice.history(thread_id)) == 1


def test_a_run_is_answered_once(server: Server, alice: Person) -> None:
    thread_id, run_id = alice.new_thread(), str(uuid4())
    first = post(server, langgraph(thread_id, run_id, "success", values=ai("one")), bearer(server))
    # LangGraph changes its timestamps when it sends again.
    later = langgraph(thread_id, run_id, "success", values=ai("one"), webhook_sent_at="2026-01-19T18:37:45.3+00:00")
    second = post(server, later, bearer(server))
    third = post(server, langgraph(thread_id, run_id, "success", values=ai("two")), bearer(server))
    assert (first[0], second[0], third[0]) == (200, 200, 409)
    assert first[2] == second[2]
    assert [message["text"] for message in alice.history(thread_id)] == ["one"]
