"""REST mode, long polling, limits and silence on a real server of two workers."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import gevent
import pytest
from sqlalchemy import update

from agents.client import Answer
from chat.models import Run
from tests.held import PIECES, Held
from tests.live.people import Person, newcomer, store_of
from tests.live.test_outbox import Agent
from tests.server import Server
from tests.until import until

LOGGED = ("message", "thread", "run", "read")
TEXT = "Grüße, 世界 👩‍👩‍👧‍👦! E\u0301 und noch ein Wort. "


@pytest.fixture
def agent(breakable: Server, agent_port: int) -> Iterator[Agent]:
    agent = Agent(breakable, agent_port)
    agent.start("accept")
    yield agent
    agent.kill()


@pytest.fixture
def bob(breakable: Server) -> Person:
    return newcomer(breakable)


def ask(who: Person, thread_id: str, text: str, wait: int = 30) -> dict[str, Any]:
    status, told = who.call("POST", f"/threads/{thread_id}/messages?wait={wait}", {"text": text})
    assert status == 201, told
    return told  # type: ignore[no-any-return]


def in_background(work: Callable[..., Any], *about: Any) -> gevent.Greenlet:
    return gevent.spawn(work, *about)


def open_streams(server: Server, kind: str) -> float:
    """How many of this kind are open on all workers."""
    _, _, body = server.raw("GET", "/metrics", token=None)
    name = f'backchannel_streams_open{{kind="{kind}"}} '
    return sum(float(line.removeprefix(name)) for line in body.decode().splitlines() if line.startswith(name))


def test_two_clients_ask_at_once_and_each_is_given_its_own_answer(alice: Person) -> None:
    threads = [alice.new_thread() for _ in range(2)]
    asking = [in_background(ask, alice, thread, f"question {n}") for n, thread in enumerate(threads)]
    for n, (thread, task) in enumerate(zip(threads, asking, strict=True)):
        told = task.get(timeout=60)
        assert (told["message"]["text"], told["answer"]["text"]) == (f"question {n}", f"You said: question {n}")
        assert (told["run"]["status"], told["answer"]["thread_id"]) == ("success", thread)
        assert [message["id"] for message in alice.history(thread)] == [told["message"]["id"], told["answer"]["id"]]


def test_an_agents_failure_is_told_to_who_waits(alice: Person) -> None:
    told = ask(alice, alice.new_thread(), "fail")
    assert (told["answer"], told["run"]["status"], told["run"]["error"]) == (None, "error", "You asked me to fail.")


@pytest.mark.parametrize("kind", ["answer", "poll"])
def test_a_client_that_hangs_up_waits_no_longer_and_what_it_said_stays(bob: Person, agent: Agent, kind: str) -> None:
    thread_id = bob.new_thread(agent.name)
    connection = HTTPConnection("127.0.0.1", bob.server.port, timeout=30)
    headers = {"Authorization": f"Bearer {bob.token}"}
    if kind == "answer":
        said = json.dumps({"text": "anybody?"})
        connection.request("POST", f"/threads/{thread_id}/messages?wait=120", said, headers)
    else:
        bob.say(thread_id, "anybody?")
        quiet = bob.new_thread()
        headers["Last-Event-ID"] = bob.cursor
        connection.request("GET", f"/threads/{quiet}/events?wait=120", headers=headers)
    until(lambda: open_streams(bob.server, kind) == 1, 30)
    assert connection.sock is not None
    connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()
    until(lambda: open_streams(bob.server, kind) == 0, 30)
    assert [message["text"] for message in bob.history(thread_id)] == ["anybody?"]


def test_a_server_that_stops_answers_those_who_wait(bob: Person, agent: Agent) -> None:
    thread_id, quiet = bob.new_thread(agent.name), bob.new_thread(agent.name)
    polling = in_background(poll, bob, f"/threads/{quiet}/events?wait=120", bob.cursor)
    asking = in_background(ask, bob, thread_id, "anybody?", 120)
    until(lambda: open_streams(bob.server, "answer") == open_streams(bob.server, "poll") == 1, 30)
    until(lambda: bob.call("GET", f"/threads/{thread_id}/messages")[1]["runs"][0]["status"] == "running", 30)
    bob.server.stop()
    told = asking.get(timeout=30)
    assert (told["message"]["text"], told["answer"], told["run"]["status"]) == ("anybody?", None, "running")
    assert polling.get(timeout=30)["events"][-1]["data"]["reason"] == "drain"


def poll(who: Person, path: str, cursor: str = "") -> dict[str, Any]:
    status, told = who.call("GET", path, headers={"Last-Event-ID": cursor} if cursor else {})
    assert status == 200, told
    return told  # type: ignore[no-any-return]


def logged(events: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """The log's events: what, where, and whose. How that looks depends on whether a worker held it or has read it."""
    return [(each["event"], each["id"], subject(each["data"])) for each in events if each["event"] in LOGGED]


def subject(data: dict[str, Any]) -> str:
    return str(data.get("id") or data["thread_id"])


def test_polls_from_every_cursor_tell_what_a_stream_tells(alice: Person) -> None:
    start = alice.cursor
    thread_id, other = alice.new_thread(), alice.new_thread()
    ask(alice, thread_id, "one")
    ask(alice, other, "two")
    epoch, _, first = start.partition(".")
    last = int(alice.cursor.partition(".")[2])
    for path in ("/stream", f"/threads/{thread_id}/events"):
        for seq in range(int(first), last + 1):
            cursor = f"{epoch}.{seq}"
            told = poll(alice, f"{path}?wait=0", cursor)
            with alice.reader(path, cursor) as reader:
                until(lambda: len(frames(reader)) >= len(logged(told["events"])))  # noqa: B023 - asked at once
                assert frames(reader) == logged(told["events"])
            assert told["cursor"] == f"{epoch}.{last}"
    assert poll(alice, "/stream?wait=0", f"{epoch}.{last}")["events"] == []


def frames(reader: Any) -> list[tuple[str, str, str]]:
    return [(each.event, each.id, subject(each.json)) for each in reader.events if each.event in LOGGED]


class Polling:
    """A page that polls: it goes on from cursor to cursor and holds what it was told."""

    def __init__(self, who: Person, thread_id: str) -> None:
        self._who, self._thread_id = who, thread_id
        self.held, self.shown = Held(), [""]
        self.events: list[dict[str, Any]] = []
        self.cursor, self.count, self.bytes = who.cursor, 0, 0

    def follow(self) -> None:
        while not any(each["event"] == "run" and each["data"]["status"] == "success" for each in self.events):
            told = poll(self._who, f"/stream?focus={self._thread_id}&page=p&wait=25", self.cursor)
            self.count += 1
            self.cursor = told["cursor"]
            self.events += told["events"]
            for event in told["events"]:
                self._take(event["event"], event["data"])

    def _take(self, kind: str, data: dict[str, Any]) -> None:
        if kind == "partial":
            self.held.take_whole(data)
        elif kind in PIECES:
            self.held.take_piece(kind, data)
            if self.held.is_behind:
                self.held.take_whole(self._who.call("GET", f"/runs/{data['run_id']}/partial")[1])
        self.shown.append(self.held.text)


@pytest.mark.parametrize("either_server", ["sqlite", "postgresql"], indirect=True)
def test_a_page_that_polls_while_an_answer_is_written_shows_it_word_by_word_and_never_a_wrong_one(
    either_server: Server,
) -> None:
    carol = newcomer(either_server)
    thread_id = carol.new_thread()
    page = Polling(carol, thread_id)
    following = in_background(page.follow)
    words = [f"{n} {TEXT}" for n in range(150)]
    with Answer(f"{either_server.url}/webhook/events", thread_id, "written", token=either_server.agent_token) as answer:
        for n, word in enumerate(words):
            answer.token(word)
            gevent.sleep(0.5 if n in (50, 100) else 0.01)  # the agent writes; twice it thinks
    following.get(timeout=60)
    text = "".join(words)
    assert [message["text"] for message in carol.history(thread_id)] == [text]
    [said] = [each["data"]["text"] for each in page.events if each["event"] == "message"]
    assert said == text
    assert all(text.startswith(shown) for shown in page.shown)
    assert len(set(page.shown)) > 5, "it grew before their eyes"
    assert page.count < 60, "a poll for a poll's worth"
    seqs = [int(each["id"].partition(".")[2]) for each in page.events if each["event"] in LOGGED]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs))), "once and in order"


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "strict", ANSWERS_PER_MINUTE=3)
    try:
        yield server.start()
    finally:
        server.stop()


def test_the_limit_holds_on_all_workers_while_the_broker_is_away(strict: Server) -> None:
    dora, others = newcomer(strict), newcomer(strict)
    broker = strict.broker()
    os.kill(broker, signal.SIGSTOP)
    try:
        until(lambda: strict.call("GET", "/health/ready", token=None)[1]["status"] == "degraded", 60)
        thread_id = dora.new_thread()
        answers = [
            dora.server.raw("POST", f"/threads/{thread_id}/messages", {"text": "?"}, dora.token) for _ in range(8)
        ]
        assert [status for status, _, _ in answers] == [201] * 3 + [429] * 5
        _, headers, body = answers[-1]
        error = json.loads(body)["error"]
        assert (error["code"], headers["Retry-After"]) == ("too_many_answers", str(error["retry_after"]))
        assert 0 < error["retry_after"] <= 60
        assert len([m for m in dora.history(thread_id) if m["direction"] == "incoming"]) == 3
        others.say(others.new_thread(), "not limited")
    finally:
        os.kill(broker, signal.SIGCONT)


def test_an_answer_that_is_late_is_told_kept_waiting_for_and_comes(bob: Person, agent: Agent) -> None:
    thread_id = bob.new_thread(agent.name)
    with bob.reader() as reader:
        bob.say(thread_id, "think hard")
        run = until(lambda: [each.json for each in reader.events if each.event == "run"], 30)[-1]
        until(lambda: agent.asked, 30)
        pass_time(bob.server, run["id"])
        late = until(lambda: next((r for r in runs(reader) if r["late_after_ms"]), None), 30)
        assert (late["status"], late["late_after_ms"] >= 100_000, late["usual_ms"]) == ("running", True, None)
        status, waited = bob.call("POST", f"/runs/{run['id']}/wait")
        assert (status, waited["late_after_ms"]) == (200, None)
        until(lambda: runs(reader)[-1]["rev"] == waited["rev"])
        said = {"thread_id": thread_id, "run_id": run["id"], "message": {"text": "at last"}}
        assert bob.server.call("POST", "/webhook/chat-response", said, agent.token)[0] == 200
        reader.wait_for_text("at last")
        done = until(lambda: next((r for r in runs(reader) if r["status"] == "success"), None))
        assert (done["late_after_ms"], done["usual_ms"]) == (None, None)


def runs(reader: Any) -> list[dict[str, Any]]:
    return [each.json for each in reader.events if each.event == "run"]


def pass_time(server: Server, run_id: str, seconds: float = 100.0) -> None:
    """Let this run have begun so much earlier."""
    times = {"started_at": Run.started_at - round(seconds * 1000), "late_at": Run.late_at - seconds}
    store_of(server).write(lambda s: s.execute(update(Run).where(Run.id == run_id).values(times)))


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ([{"type": "token", "text": "é" * 16_384}] * 9, "é" * 131_072),  # 256 KiB, and a line of it more
        (
            [{"type": "token", "text": "yes"}, {"type": "token", "text": "x" * 65_536}],
            "yes",
        ),  # a line of 64 KiB and more
        (
            [
                {"type": "token", "text": "yes"},
                *({"type": "tool", "name": "t", "id": str(n), "output": "x" * 50_000} for n in range(6)),
            ],
            "yes",
        ),
    ],
    ids=["text", "line", "beside"],
)
def test_a_streamed_answer_that_grows_too_long_is_refused_and_what_fitted_stays(
    alice: Person, said: list[dict[str, Any]], kept: str
) -> None:
    server, thread_id = alice.server, alice.new_thread()
    first = {"thread_id": thread_id, "run_id": f"long {thread_id}"}
    body = b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in (first, *said))
    headers = {"Content-Type": "application/x-ndjson"}
    status, refused = server.call("POST", "/webhook/events", body, server.agent_token, headers)
    assert (status, refused["error"]["code"]) == (400, "too_long")
    [message] = alice.history(thread_id)
    assert message["text"] == kept
    ended = alice.call("GET", f"/runs/{message['run_id']}/partial")[1]
    assert (ended["status"], ended["text"]) == ("error", kept)
