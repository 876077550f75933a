"""agents/client.py at a real server: cut at any place, refused for a while, stopped; what it said stands there once."""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import gevent
import pytest
from gevent import socket
from gevent.server import StreamServer
from sqlalchemy import select

from agents import client
from agents.client import Answer, Line, Refused, Stopped, Unreachable
from chat.models import DraftRow, Run
from tests.fronts import certificate
from tests.live.people import Person, store_of
from tests.live.reader import named
from tests.server import Server
from tests.until import until

WORDS = [f"wörd{number} 😀 e\u0301, " for number in range(60)]
TEXT = "".join(WORDS)
AWAY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

Plan = Callable[[], int | str | None]  # for each connection: after how many bytes it is cut, "away", or "unheard"


class Gate:
    """A TCP proxy before the server that does to each connection what `plan` says of it."""

    def __init__(self, port: int, plan: Plan) -> None:
        self._target, self._plan = port, plan
        self.connections = 0
        self._server = StreamServer(("127.0.0.1", 0), self._take)
        self._server.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/webhook/chat-response"

    def stop(self) -> None:
        self._server.stop(timeout=0)

    def _take(self, near: socket.socket, _: object) -> None:
        self.connections += 1
        fate = self._plan()
        with near:
            if fate == "away":
                near.recv(65536)
                near.sendall(AWAY)
                return
            with socket.create_connection(("127.0.0.1", self._target)) as far:
                back = gevent.spawn(self._back, far, near, fate == "unheard")
                self._forth(near, far, fate if isinstance(fate, int) else None)
                back.kill()

    def _forth(self, near: socket.socket, far: socket.socket, left: int | None) -> None:
        with suppress(OSError):
            while data := near.recv(65536):
                far.sendall(data if left is None else data[:left])
                left = None if left is None else left - len(data)
                if left is not None and left <= 0:
                    return

    def _back(self, far: socket.socket, near: socket.socket, is_cut: bool) -> None:
        with suppress(OSError):
            while data := far.recv(65536):
                if is_cut:
                    near.shutdown(socket.SHUT_RDWR)
                    return
                near.sendall(data)


@pytest.fixture
def gate(server: Server) -> Iterator[Callable[[Plan], Gate]]:
    gates: list[Gate] = []

    def make(plan: Plan) -> Gate:
        gates.append(Gate(server.port, plan))
        return gates[-1]

    yield make
    for each in gates:
        each.stop()


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "WAITS", (0.02,) * 40)


def saved(server: Server, thread: str) -> bool:
    """Does the store have something of the answer that is being written?"""
    query = select(DraftRow.count).join(Run, Run.id == DraftRow.run_id).where(Run.thread_id == thread)
    return bool(store_of(server).read(lambda s: s.scalar(query)))


def say(answer: Answer, words: list[str] = WORDS) -> None:
    for word in words:
        answer.token(word)
        gevent.sleep(0.01)


def test_cut_anywhere_again_and_again_it_stands_there_once_and_whole(
    server: Server, alice: Person, gate: Callable[[Plan], Gate]
) -> None:
    thread, dice = alice.new_thread(), random.Random(7)
    cuts = iter([dice.randint(1, 2500) for _ in range(12)])
    through = gate(lambda: next(cuts, None))
    with Answer(through.url, thread, uuid4().hex, token=server.agent_token) as answer:
        say(answer)
    assert through.connections > 5
    assert [message["text"] for message in alice.history(thread)] == [TEXT]


def test_a_server_that_is_away_for_a_while_is_waited_for(
    server: Server, alice: Person, gate: Callable[[Plan], Gate]
) -> None:
    thread, fates = alice.new_thread(), iter(["away", 900, "away", "away"])
    through = gate(lambda: next(fates, None))
    with Answer(through.url, thread, uuid4().hex, token=server.agent_token) as answer:
        say(answer)
    assert through.connections == 5
    assert [message["text"] for message in alice.history(thread)] == [TEXT]


def test_an_end_whose_answer_was_lost_is_no_failure(
    server: Server, alice: Person, gate: Callable[[Plan], Gate]
) -> None:
    thread, fates = alice.new_thread(), iter(["unheard"])
    through = gate(lambda: next(fates, None))
    with Answer(through.url, thread, uuid4().hex, token=server.agent_token) as answer:
        say(answer)
    assert through.connections == 2
    assert [message["text"] for message in alice.history(thread)] == [TEXT]


def test_nobody_there_is_told_after_the_last_try(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "WAITS", (0.01, 0.01))
    with pytest.raises(Unreachable), Answer("http://127.0.0.1:9/webhook/events", "t", "r", token="x") as answer:
        answer.token("Hello?")


def test_who_is_not_let_in_is_told_so(server: Server, alice: Person) -> None:
    thread = alice.new_thread()
    with pytest.raises(Refused) as raised, Answer(f"{server.url}/webhook/events", thread, "r", token="wrong") as answer:
        say(answer)
    assert raised.value.status == 401
    assert not isinstance(raised.value, Stopped)


def test_by_its_secret_it_is_let_in(server: Server, alice: Person) -> None:
    thread = alice.new_thread()
    with Answer(f"{server.url}/webhook/events", thread, uuid4().hex, secret=server.webhook_secret) as answer:
        answer.token("Signed.")
    assert [message["text"] for message in alice.history(thread)] == ["Signed."]


def test_stop_is_heard_while_it_speaks(server: Server, alice: Person) -> None:
    thread, said = alice.new_thread(), []

    def talk() -> None:
        with Answer(f"{server.url}/webhook/events", thread, uuid4().hex, token=server.agent_token) as answer:
            answer.token("begin ")
            until(lambda: saved(server, thread))
            until(lambda: alice.call("POST", f"/threads/{thread}/stop", {})[0] == 200)
            for _ in range(1000):
                answer.token("more ")
                said.append("more ")
                gevent.sleep(0.01)

    with pytest.raises(Stopped):
        talk()
    assert len(said) < 300
    assert len(alice.history(thread)[0]["text"]) < 300 * len("more ")


def test_an_exception_ends_it_as_failed_and_goes_on_its_way(server: Server, alice: Person) -> None:
    thread = alice.new_thread()

    def talk() -> None:
        with Answer(f"{server.url}/webhook/events", thread, uuid4().hex, token=server.agent_token) as answer:
            answer.token("One divided by zero is ")
            answer.token(str(1 / 0))

    with alice.reader(f"/threads/{thread}/events") as reader:
        reader.wait("ready")
        with pytest.raises(ZeroDivisionError):
            talk()
        until(lambda: named(reader.events, "run")[-1].json["status"] == "error")
    assert named(reader.events, "run")[-1].json["error"] == "The agent failed."
    assert [message["text"] for message in alice.history(thread)] == ["One divided by zero is "]


def test_what_tls_has_to_say_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS 1.3 sends tickets after the handshake: the socket is readable, and nothing has been answered."""
    certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "site.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "site.pem", tmp_path / "site.key")
    got: list[bytes] = []

    def take(near: socket.socket, _: object) -> None:
        with suppress(OSError), context.wrap_socket(near, server_side=True) as line:
            while b"0\r\n\r\n" not in b"".join(got):
                got.append(line.recv(65536))
            line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    server = StreamServer(("127.0.0.1", 0), take)
    server.start()
    line = Line(f"https://localhost:{server.server_port}/webhook/events", {"Transfer-Encoding": "chunked"})
    line.send(b"{}")
    until(lambda: b"{}" in b"".join(got))
    assert not line.is_answered
    line.send(b"{}")
    line.end()
    until(lambda: line.is_answered)
    assert line.answer() == (200, b"{}")
    line.close()
    server.stop(timeout=0)
