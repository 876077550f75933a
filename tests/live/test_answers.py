"""Answers that are watched while they are written: cut off anywhere, reloaded, joined late, with whatever broken."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.client import HTTPResponse
from pathlib import Path
from socket import create_connection, socket
from typing import Any
from uuid import uuid4

import gevent
import pytest

from agents.client import Answer, Stopped
from tests.fronts import nginx, shipped
from tests.live.kills import kill_a_worker
from tests.live.onlooker import Onlooker
from tests.live.people import Person
from tests.ports import free_port
from tests.server import Server
from tests.until import until

PIECES = [
    "Hel",
    "lo, ",
    "😀",
    " wörld",
    " e",
    "\u0301",
    "\n\n",
    "```py\nx = 1\n```\n",
    "👩‍👩‍👧",
    " | ",
    "\u2028",
    "- 1\n",
    "**b**",
]
RATE = 150.0  # tokens a second


def words(count: int) -> list[str]:
    return [
        f"{random.choice(PIECES)}{number} " if number % 7 == 0 else random.choice(PIECES) for number in range(count)
    ]


def written(server: Server, thread_id: str, words: list[str], rate: float = RATE) -> gevent.Greenlet:
    """The agent writes at this rate, in an answer of its own."""

    def write() -> None:
        began = time.monotonic()
        with Answer(f"{server.url}/webhook/events", thread_id, uuid4().hex, token=server.agent_token) as answer:
            for number, word in enumerate(words):
                gevent.sleep(max(0.0, began + number / rate - time.monotonic()))
                answer.token(word)

    return gevent.spawn(write)


def watched(stack: ExitStack, person: Person, thread_id: str, whole: str, count: int = 3) -> list[Onlooker]:
    return [stack.enter_context(Onlooker(person, thread_id, whole)) for _ in range(count)]


def check(person: Person, thread_id: str, onlookers: list[Onlooker], whole: str) -> None:
    """All show what is stored, character by character, and never showed anything that was no beginning of it."""
    until(lambda: all(onlooker.is_whole for onlooker in onlookers), 30)
    [stored] = [message for message in person.history(thread_id) if message["direction"] == "outgoing"]
    assert stored["text"] == whole
    assert [onlooker.wrong for onlooker in onlookers] == [[]] * len(onlookers)


def test_an_answer_is_whole_on_every_page_however_often_they_are_cut(server: Server, alice: Person) -> None:
    """2,000 tokens at 150 a second, three pages cut thirty times and reloaded five times, one that comes late."""
    thread_id, said = alice.new_thread(), words(2000)
    whole = "".join(said)
    with ExitStack() as stack:
        onlookers = watched(stack, alice, thread_id, whole)
        writer = written(server, thread_id, said)
        upsets: list[Callable[[Onlooker], None]] = [*[Onlooker.cut] * 30, *[Onlooker.reload] * 5]
        random.shuffle(upsets)
        for number, upset in enumerate(upsets):
            gevent.sleep(2000 / RATE / len(upsets) * random.uniform(0.5, 1.2))
            upset(random.choice(onlookers))
            if number == len(upsets) // 2:
                onlookers += watched(stack, alice, thread_id, whole, 1)
        writer.get(timeout=60)
        check(alice, thread_id, onlookers, whole)
        assert all(onlooker.frames > 20 for onlooker in onlookers), "it was watched while it was written"


def kill_the_worker_that_writes(server: Server) -> None:
    for _ in range(2):  # whichever it is
        kill_a_worker(server)


def kill_the_broker(server: Server) -> None:
    os.kill(server.broker(), signal.SIGKILL)


def hang_up(server: Server) -> None:
    os.kill(server.pid, signal.SIGHUP)


@pytest.mark.parametrize("upset", [kill_the_worker_that_writes, kill_the_broker, hang_up])
def test_an_answer_is_whole_whatever_dies_in_the_middle_of_it(
    breakable: Server, upset: Callable[[Server], None]
) -> None:
    alice = Person(breakable, breakable.name, breakable.token)
    thread_id, said = alice.new_thread(), words(900)
    whole = "".join(said)
    with ExitStack() as stack:
        onlookers = watched(stack, alice, thread_id, whole)
        writer = written(breakable, thread_id, said)
        until(lambda: all(onlooker.frames for onlooker in onlookers))
        upset(breakable)
        onlookers += watched(stack, alice, thread_id, whole, 1)
        writer.get(timeout=90)
        check(alice, thread_id, onlookers, whole)


def test_a_worker_that_leaves_answers_an_agent_that_goes_on_speaking(breakable: Server) -> None:
    """However fast it speaks: it is to go on elsewhere, and is told from where."""
    alice = Person(breakable, breakable.name, breakable.token)
    thread_id, head = alice.new_thread(), f"Authorization: Bearer {breakable.agent_token}"
    with Onlooker(alice, thread_id, "") as onlooker, create_connection(("127.0.0.1", breakable.port)) as agent:
        agent.sendall(f"POST /webhook/events HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode())
        agent.sendall(b"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n")
        send_line(agent, thread_id=thread_id, run_id=uuid4().hex)
        hearing = gevent.spawn(read_response, agent)
        until(lambda: send_line(agent, type="token", text="word ") or onlooker.frames)
        hang_up(breakable)
        while not hearing.ready():
            send_line(agent, type="token", text="word ")
            gevent.sleep(0.005)
        status, body = hearing.get()
        assert (status, body["status"]) == (200, "open")


def read_response(connection: socket) -> tuple[int, Any]:
    response = HTTPResponse(connection, method="POST")
    response.begin()
    return response.status, json.loads(response.read())


@pytest.mark.parametrize("ends", [True, False])
def test_a_connection_takes_another_request_if_the_body_was_read_to_its_end(
    server: Server, alice: Person, ends: bool
) -> None:
    head = f"Host: x\r\nAuthorization: Bearer {server.agent_token}\r\nContent-Type: application/x-ndjson\r\n".encode()
    with create_connection(("127.0.0.1", server.port)) as agent:
        for _ in range(2):
            agent.sendall(b"POST /webhook/events HTTP/1.1\r\n" + head + b"Transfer-Encoding: chunked\r\n\r\n")
            send_line(agent, thread_id=alice.new_thread(), run_id=uuid4().hex)
            send_line(agent, type="message", text="That is all.")
            if not ends:
                break
            agent.sendall(b"0\r\n\r\n")
            assert read_response(agent)[1]["status"] == "received"
        if not ends:
            response = HTTPResponse(agent, method="POST")
            response.begin()
            assert (response.status, response.getheader("Connection")) == (200, "close")


def send_line(agent: socket, **said: str) -> None:
    line = json.dumps(said).encode()
    agent.sendall(b"%x\r\n%s\n\r\n" % (len(line) + 1, line))


def test_a_reader_sees_the_first_word_long_before_the_last(server: Server, alice: Person) -> None:
    thread_id = alice.new_thread()
    with Onlooker(alice, thread_id, "first last") as onlooker:
        with Answer(f"{server.url}/webhook/events", thread_id, f"{thread_id} 1", token=server.agent_token) as answer:
            answer.token("first")
            until(lambda: onlooker.text == "first")
            answer.token(" last")
        until(lambda: onlooker.is_whole)


def test_words_come_through_nginx_as_they_are_written(server: Server, alice: Person, tmp_path: Path) -> None:
    """With the configuration that we ship."""
    thread_id, port = alice.new_thread(), free_port()
    with nginx(tmp_path, port, shipped(tmp_path, port, [server.port], tls=False)):
        url = f"http://127.0.0.1:{port}/webhook/events"
        with Onlooker(alice, thread_id, "first last") as onlooker:
            with Answer(url, thread_id, f"{thread_id} 1", token=server.agent_token) as answer:
                answer.token("first")
                until(lambda: onlooker.text == "first")
                answer.token(" last")
            until(lambda: onlooker.is_whole)


def test_only_who_looks_at_the_thread_is_told_of_what_is_being_written(server: Server, alice: Person) -> None:
    thread_id, other = alice.new_thread(), alice.new_thread()
    with alice.reader("/stream") as unfocused, alice.reader(f"/stream?focus={other}") as elsewhere:
        for reader in (unfocused, elsewhere):
            reader.wait("ready")
        with Answer(f"{server.url}/webhook/events", thread_id, f"{thread_id} 1", token=server.agent_token) as answer:
            answer.token("word")
            answer.stage("search")
        for reader in (unfocused, elsewhere):
            reader.wait_for_text("word")
            assert {event.event for event in reader.events} <= {"ready", "ping", "message", "run", "thread", "read"}


def test_a_stop_reaches_an_agent_that_still_thinks(server: Server, alice: Person) -> None:
    """Wherever the stop comes in, whoever holds the agent's connection answers it at once."""
    for _ in range(4):  # so that both workers stop what the other writes
        thread_id = alice.new_thread()
        answer = Answer(f"{server.url}/webhook/events", thread_id, f"{thread_id} 1", token=server.agent_token)
        with Onlooker(alice, thread_id, "word") as onlooker:
            answer.token("word")
            until(lambda onlooker=onlooker: onlooker.text == "word")
            status, run = alice.call("POST", f"/threads/{thread_id}/stop", {})
            assert (status, run["status"]) == (200, "stopped")
            with pytest.raises(Stopped):
                until(lambda answer=answer: answer.say("token", text=" late"), 10)
            until(lambda onlooker=onlooker: onlooker.is_whole)
        assert [message["text"] for message in alice.history(thread_id)] == ["word"]


def test_stop_and_say_at_once_never_mix(server: Server, alice: Person) -> None:
    thread_id = alice.new_thread()
    first = Answer(f"{server.url}/webhook/events", thread_id, f"{thread_id} 1", token=server.agent_token)
    first.token("one")
    with Onlooker(alice, thread_id, "one") as onlooker:
        until(lambda: onlooker.text == "one")
    assert alice.call("POST", f"/threads/{thread_id}/stop", {})[0] == 200
    alice.say(thread_id, "another question")
    with pytest.raises(Stopped):
        until(lambda: first.token(" two"), 10)
    until(lambda: len(alice.history(thread_id)) == 3)
    assert {message["text"] for message in alice.history(thread_id)} == {
        "one",
        "another question",
        "You said: another question",
    }


def late(server: Server, thread_id: str, run_id: str, index: int, *events: dict[str, Any]) -> int:
    body = {"thread_id": thread_id, "run_id": run_id, "index": index, "events": list(events)}
    return server.call("POST", "/webhook/events", body, server.agent_token)[0]


def test_what_comes_late_of_one_answer_changes_nothing_of_the_next(server: Server, alice: Person) -> None:
    thread_id = alice.new_thread()
    token = [{"type": "token", "text": f"{number} "} for number in range(6)]
    names = [f"{thread_id} {number}" for number in (1, 2)]
    assert late(server, thread_id, names[0], 0, *token[:3], {"type": "done"}) == 200
    assert late(server, thread_id, names[1], 0, token[5]) == 200
    for events in permuted(token[:5]):  # with its end there are four
        for index, event in events:
            assert late(server, thread_id, names[0], index, event) == (200 if index < 4 else 409)
    assert late(server, thread_id, names[0], 2, {"type": "done"}) in (200, 409)
    assert late(server, thread_id, names[1], 1, token[4], {"type": "done"}) == 200
    assert [message["text"] for message in alice.history(thread_id)] == ["0 1 2 ", "5 4 "]


def permuted(events: list[dict[str, Any]]) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    for _ in range(5):
        yield random.sample(list(enumerate(events)), len(events))


def test_a_streamed_body_may_be_sse(server: Server, alice: Person) -> None:
    thread_id = alice.new_thread()
    first = json.dumps({"thread_id": thread_id, "run_id": f"{thread_id} 1"})
    events = [{"type": "token", "text": "Hello"}, {"type": "done"}]
    lines = ["data: " + first, *(f"event: x\r\ndata: {json.dumps(event)}\r\n" for event in events), "data: [DONE]"]
    status, said = sent(server, "\r\n".join(lines) + "\r\n\r\n", "text/event-stream")
    assert (status, said["status"]) == (200, "received")
    assert [message["text"] for message in alice.history(thread_id)] == ["Hello"]


def sent(server: Server, body: str, kind: str = "application/x-ndjson") -> tuple[int, Any]:
    headers = {"Content-Type": kind, "Authorization": f"Bearer {server.agent_token}"}
    status, _, content = server.raw("POST", "/webhook/events", body.encode(), None, headers)
    return status, json.loads(content)


@pytest.mark.parametrize(
    ("lines", "code", "field"),
    [
        ("", "empty", "line 1"),
        ("nothing\n", "bad_json", None),
        ('{"thread_id": "T"}\n', "invalid", "run_id"),
        ('{"thread_id": "T", "run_id": "R", "events": []}\n', "invalid", "events"),
        ('{"thread_id": "nowhere", "run_id": "r"}\n', "unknown_thread", None),
        ('{"thread_id": "T", "run_id": "R"}\n{"type": "shout"}\n', "invalid", "line 2.type"),
        ('{"thread_id": "T", "run_id": "R"}\n{"type": "token", "text": "a"}\n{no}\n', "bad_json", "line 3"),
        ('{"thread_id": "T", "run_id": "R"}\n{"type": "token", "text": "a"}\nno\n', "bad_json", None),
        ('{"thread_id": "T", "run_id": "R"}\n{"type": "token", "text": "LONG"}\n', "too_long", None),
        ('{"thread_id": "T", "run_id": "R", "index": 3}\n{"type": "done"}\n', "too_far_ahead", None),
    ],
)
def test_a_streamed_body_that_cannot_be_is_refused(
    server: Server, alice: Person, lines: str, code: str, field: str | None
) -> None:
    thread_id = alice.new_thread()
    body = lines.replace('"T"', json.dumps(thread_id)).replace('"R"', json.dumps(f"{thread_id} 1"))
    status, said = sent(server, body.replace("LONG", "x" * 70_000))
    assert 400 <= status < 500, said
    assert (said["error"]["code"], said["error"].get("field")) == (code, field)


def test_events_that_are_sent_as_a_batch_by_mistake_are_told_how(server: Server, alice: Person) -> None:
    line = json.dumps({"thread_id": alice.new_thread(), "run_id": "r"})
    status, said = sent(server, f"{line}\n{line}\n", "application/x-www-form-urlencoded")
    assert status == 400
    assert "application/x-ndjson" in said["error"]["message"]


def test_a_streamed_body_that_says_what_cannot_be_shown_ends_its_answer(server: Server, alice: Person) -> None:
    """And what it said before stays."""
    thread_id = alice.new_thread()
    first = json.dumps({"thread_id": thread_id, "run_id": f"{thread_id} 1"})
    status, _ = sent(server, first + '\n{"type": "token", "text": "a"}\n{"type": "shout"}\n{"type": "done"}\n')
    assert status == 400
    assert [message["text"] for message in alice.history(thread_id)] == ["a"]
    again, said = sent(server, first + '\n{"type": "token", "text": "a"}\n')
    assert (again, said["error"]["code"]) == (409, "run_ended")


def test_a_body_that_ends_before_its_answer_leaves_it_open(server: Server, alice: Person) -> None:
    thread_id = alice.new_thread()
    first = {"thread_id": thread_id, "run_id": f"{thread_id} 1"}
    status, said = sent(server, json.dumps(first) + '\n{"type": "token", "text": "a"}\n')
    assert (status, said["status"], said["have"]) == (200, "open", 1)
    rest = '\n{"type": "token", "text": "b"}\n{"type": "done", "count": 2}\n'
    status, said = sent(server, json.dumps({**first, "index": 1}) + rest)
    assert (status, said["status"], said["have"]) == (200, "received", 3)
    assert [message["text"] for message in alice.history(thread_id)] == ["ab"]
