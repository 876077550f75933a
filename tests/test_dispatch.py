"""Questions put to a real HTTP server: signed on every attempt, and what each of its manners leads to (DESIGN 4)."""

import json
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from gevent.pool import Group
from gevent.pywsgi import WSGIServer
from gevent.server import StreamServer
from standardwebhooks.webhooks import Webhook

import logs
from agents import dispatch as dispatch_module
from agents.dispatch import Dispatcher
from agents.scribe import Scribe
from chat.models import Agent, Dispatch
from chat.store import Store
from chat.tokens import webhook_secret
from config import Config
from tests.acts import call, newest_run, open_thread, say, spoken
from tests.until import until

Answer = Callable[[Callable[..., Any]], Iterable[bytes]]


class Agents:
    """An agent's HTTP server; `answers` says how it takes each attempt, the last of them for ever."""

    def __init__(self) -> None:
        self.attempts: list[SimpleNamespace] = []
        self.answers: list[Answer] = []
        self._server = WSGIServer(("127.0.0.1", 0), self._take, log=None)
        self._server.start()
        self.address = f"127.0.0.1:{self._server.server_port}"

    def _take(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        names = {name: name[5:].replace("_", "-").lower() for name in environ if name.startswith("HTTP_")}
        headers = {short: environ[name] for name, short in names.items()}
        body = environ["wsgi.input"].read()
        self.attempts.append(SimpleNamespace(path=environ["PATH_INFO"], headers=headers, body=body))
        return self.answers[min(len(self.attempts), len(self.answers)) - 1](start_response)

    def stop(self) -> None:
        self._server.stop(timeout=0)


def status(line: str, **headers: str) -> Answer:
    def answer(start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response(line, list(headers.items()))
        return [b""]

    return answer


def silence(start_response: Callable[..., Any]) -> Iterable[bytes]:
    gevent.sleep(60)
    return [b""]


def endless(start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [])
    while True:
        yield b"x" * 65536


@pytest.fixture
def agent() -> Iterator[Agents]:
    found = Agents()
    yield found
    found.stop()


@pytest.fixture
def asked(
    store: Store, people: SimpleNamespace, agent: Agents, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., str]]:
    """Alice asks her agent, at whatever URL; a dispatcher runs. Returns the thread."""
    monkeypatch.setattr(dispatch_module, "POLL", 0.05)
    tasks = Group()

    def ask(url: str = "", text: str = "Hello?", data: dict[str, Any] | None = None, **settings: Any) -> str:
        settings = {"AGENT_RETRY_SECONDS": "0.05,0.05", "AGENT_ALLOW": agent.address, "SECRET_KEY": "k"} | settings
        settings = {"PUBLIC_URL": "https://chat.example.com", **settings}
        dispatcher = Dispatcher(store, Scribe(store, lambda *_: None, 60.0), Config(**settings))
        where = {"url": url or f"http://{agent.address}/ask"}
        store.write(lambda s: s.query(Agent).filter_by(id=people.agent.id).update(where))
        thread = open_thread(store, people.alice)
        say(store, people.alice, thread, text, data=data)
        tasks.spawn(dispatcher._run)
        tasks.spawn(dispatcher._watch)
        return thread

    yield ask
    tasks.kill()


def ended(store: Store, thread: str) -> dict[str, Any]:
    return until(lambda: (run := newest_run(store, thread))["ended_at"] and run)


def is_accepted(store: Store) -> bool:
    return bool(store.read(lambda s: s.query(Dispatch).filter(Dispatch.accepted_at.is_not(None)).count()))


def test_a_question_is_a_signed_post_that_says_where_to_answer(
    store: Store, people: SimpleNamespace, agent: Agents, asked: Callable[..., str]
) -> None:
    agent.answers = [status("202 Accepted")]
    thread = asked(text="What is the answer?")
    until(lambda: is_accepted(store))
    [attempt] = agent.attempts
    question = Webhook(webhook_secret("k", people.agent.id)).verify(attempt.body, attempt.headers)
    assert (attempt.path, attempt.headers["host"]) == ("/ask", agent.address)
    assert question["message"]["text"] == "What is the answer?"
    assert question["thread_id"] == thread
    assert question["run_id"] == attempt.headers["webhook-id"] == newest_run(store, thread)["id"]
    assert question["callback_url"] == f"https://chat.example.com/webhook/chat-response?agent={people.agent.id}"
    assert set(question) == {"thread_id", "run_id", "message", "history", "callback_url"}


@pytest.mark.parametrize("line", ["500 Internal Server Error", "503 Service Unavailable", "429 Too Many Requests"])
def test_an_agent_that_refuses_is_asked_again_by_the_same_id_and_a_fresh_signature(
    store: Store, people: SimpleNamespace, agent: Agents, asked: Callable[..., str], line: str
) -> None:
    agent.answers = [status(line), status("200 OK")]
    asked()
    until(lambda: is_accepted(store))
    first, second = agent.attempts
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    for attempt in agent.attempts:
        Webhook(webhook_secret("k", people.agent.id)).verify(attempt.body, attempt.headers)


def test_when_no_attempt_is_left_the_failure_is_seen_in_the_thread(
    store: Store, agent: Agents, asked: Callable[..., str]
) -> None:
    agent.answers = [status("500 Internal Server Error")]
    run = ended(store, asked())
    assert (run["status"], run["error"], run["attempts"]) == ("error", "The agent refused the question (HTTP 500).", 3)
    assert len(agent.attempts) == 3


def test_a_worker_that_leaves_asks_nobody_and_waits_for_who_is_being_asked(
    store: Store, people: SimpleNamespace, agent: Agents
) -> None:
    settings = Config(AGENT_RETRY_SECONDS="0.05", AGENT_ALLOW=agent.address, SECRET_KEY="k", AGENT_READ_SECONDS=0.5)
    scribe = Scribe(store, lambda *_: None, 60.0)
    dispatcher = Dispatcher(store, scribe, settings)
    where = {"url": f"http://{agent.address}/ask"}
    store.write(lambda s: s.query(Agent).filter_by(id=people.agent.id).update(where))
    agent.answers = [silence]
    say(store, people.alice, open_thread(store, people.alice))
    dispatcher._empty_outbox()
    scribe.drain()
    say(store, people.alice, open_thread(store, people.alice))
    dispatcher._empty_outbox()
    dispatcher.join(10)
    assert (len(agent.attempts), is_accepted(store)) == (1, True)


def test_a_redirect_is_not_followed(store: Store, agent: Agents, asked: Callable[..., str]) -> None:
    """S24."""
    agent.answers = [status("302 Found", Location=f"http://{agent.address}/elsewhere")]
    run = ended(store, asked())
    assert run["error"] == "The agent refused the question (HTTP 302)."
    assert {attempt.path for attempt in agent.attempts} == {"/ask"}


def test_an_agent_that_takes_its_time_has_the_question(store: Store, agent: Agents, asked: Callable[..., str]) -> None:
    """It was sent whole, so asking again would be asking twice (P29)."""
    agent.answers = [silence]
    thread = asked(AGENT_READ_SECONDS=0.2)
    until(lambda: is_accepted(store))
    assert newest_run(store, thread)["status"] == "running"
    assert len(agent.attempts) == 1


# More than a connection takes unread; what takes it in: nobody, someone too slow, someone who then says too little.
BIG = {"x": "y" * 16_000_000}


def unread(connection: socket.socket) -> None:
    gevent.sleep(60)


def sipped(connection: socket.socket) -> None:
    """Some 5 MB a second: never so slow that a single write fails, and yet too slow."""
    while True:
        for _ in range(16):
            if not connection.recv(32 * 1024, socket.MSG_WAITALL):
                return
        gevent.sleep(0.1)


def swallowed(connection: socket.socket) -> None:
    left = None
    said = b""
    while left is None or left > 0:
        block = connection.recv(1 << 20)
        if left is None:
            said += block
            head, end, rest = said.partition(b"\r\n\r\n")
            left = int(head.lower().partition(b"content-length: ")[2].split()[0]) - len(rest) if end else None
        else:
            left -= len(block)


def taken_in_silence(connection: socket.socket) -> None:
    swallowed(connection)
    gevent.sleep(60)


def answered_without_end(connection: socket.socket) -> None:
    swallowed(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        connection.sendall(b"x")
        gevent.sleep(0.05)


@pytest.mark.parametrize(
    ("manner", "has_it"),
    [(unread, False), (sipped, False), (taken_in_silence, True), (answered_without_end, True)],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_only_who_was_sent_the_whole_question_can_have_accepted_it(
    store: Store, asked: Callable[..., str], monkeypatch: pytest.MonkeyPatch, manner: Callable[..., None], has_it: bool
) -> None:
    monkeypatch.setattr(dispatch_module, "CONNECT", 0.6)
    came = []

    def take(connection: socket.socket, _address: object) -> None:
        came.append(1)
        with suppress(OSError):
            manner(connection)

    server = StreamServer(("127.0.0.1", 0), take)
    server.start()
    address = f"127.0.0.1:{server.server_port}"
    thread = asked(f"http://{address}/", data=None if has_it else BIG, AGENT_ALLOW=address, AGENT_READ_SECONDS=0.1)
    if has_it:
        until(lambda: is_accepted(store))
        assert newest_run(store, thread)["status"] == "running"
        assert len(came) == 1
    else:
        run = ended(store, thread)
        assert (run["status"], run["error"], run["attempts"]) == ("error", "The agent could not be reached.", 3)
        until(lambda: len(came) == 3)
    server.stop(timeout=0)


@pytest.mark.parametrize("path", ["\x01", "\x7f", "a" * 70_000])
def test_whatever_goes_wrong_in_asking_is_told_to_the_person_and_not_tried_for_ever(
    store: Store, agent: Agents, asked: Callable[..., str], caplog: pytest.LogCaptureFixture, path: str
) -> None:
    """A URL that the HTTP client refuses can stand in the table: put there by hand, or before it was checked."""
    caplog.handler.setFormatter(logs.formatter("text"))
    run = ended(store, asked(f"http://{agent.address}/{path}"))
    assert (run["status"], run["error"], run["attempts"]) == ("error", "The agent could not be asked.", 3)
    assert agent.attempts == []
    assert all(f"{name}={run[key]}" in caplog.text for name, key in (("run", "id"), ("thread", "thread_id")))
    assert all(f"attempt={number}" in caplog.text for number in (1, 2, 3))


def test_a_body_without_end_is_not_read(store: Store, agent: Agents, asked: Callable[..., str]) -> None:
    agent.answers = [endless]
    begun = time.monotonic()
    asked()
    until(lambda: is_accepted(store))
    assert time.monotonic() - begun < 5


def test_an_agent_that_is_not_there_is_asked_again_and_then_the_person_is_told(
    store: Store, asked: Callable[..., str]
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        run = ended(store, asked(f"http://{address}/", AGENT_ALLOW=address))
    assert (run["status"], run["error"], run["attempts"]) == ("error", "The agent could not be reached.", 3)


@pytest.mark.parametrize("hangs_up", [b"", b"HTTP/1.1 ", b"SSH-2.0-x\r\n", b"\x00" * 100, b"HTTP/1.1 999999 \r\n\r\n"])
def test_what_speaks_no_http_could_not_be_reached(store: Store, asked: Callable[..., str], hangs_up: bytes) -> None:
    def talk(connection: socket.socket, _address: object) -> None:
        connection.recv(65536)
        connection.sendall(hangs_up)

    server = StreamServer(("127.0.0.1", 0), talk)
    server.start()
    address = f"127.0.0.1:{server.server_port}"
    run = ended(store, asked(f"http://{address}/", AGENT_ALLOW=address))
    assert run["status"] == "error"
    assert run["error"].startswith("The agent ")
    server.stop()


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1/", "http://[::1", "http://x:99999/", "http://" + "a" * 70 + "/", "file:///etc/passwd", ""],
)
def test_an_address_that_must_not_be_called_is_a_failure_that_the_person_sees(
    store: Store, people: SimpleNamespace, agent: Agents, asked: Callable[..., str], url: str
) -> None:
    run = ended(store, asked(url or f"http://{agent.address}/", AGENT_ALLOW=""))
    assert run["status"] == "error"
    assert run["error"].startswith("The agent was not asked: ")
    assert agent.attempts == []


def test_the_next_question_goes_out_when_the_first_is_answered(
    store: Store, people: SimpleNamespace, agent: Agents, asked: Callable[..., str]
) -> None:
    agent.answers = [status("200 OK")]
    thread = asked(text="one")
    say(store, people.alice, thread, "two")
    until(lambda: is_accepted(store))
    run = agent.attempts[0].headers["webhook-id"]
    call(store, people.agent, {"thread_id": thread, "run_id": run, **spoken()})
    until(lambda: len(agent.attempts) == 2)
    assert [json.loads(attempt.body)["message"]["text"] for attempt in agent.attempts] == ["one", "two"]


def test_an_agent_that_accepts_and_then_says_nothing_is_given_up(
    store: Store, agent: Agents, asked: Callable[..., str]
) -> None:
    """P37."""
    agent.answers = [status("200 OK")]
    run = ended(store, asked(RUN_SECONDS=1))
    assert (run["status"], run["error"]) == ("timeout", "No answer within 1 seconds.")
