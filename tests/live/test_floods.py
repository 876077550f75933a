"""Bodies without an end: who sends one is refused, or at least keeps nobody else from their answer."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import gevent
import pytest
from gevent.event import Event as Flag

from tests.live.people import Person, newcomer
from tests.server import Server

SOON = 2.0  # seconds for what takes some milliseconds, on a machine with other things to do
PIECE = 64 * 1024  # bytes of a chunk
STRANGER = {"webhook-id": "1", "webhook-signature": "v1,bm9ib2R5"}
TIMES = 5


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of one worker: who holds that holds all."""
    server = Server(Path(tmp_path_factory.mktemp("alone")), WORKERS=1)
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def alice(alone: Server) -> Person:
    return newcomer(alone)


def begun(server: Server, kind: str, headers: dict[str, str]) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=15)
    head = ["POST /webhook/events HTTP/1.1", "Host: x", f"Content-Type: {kind}", "Transfer-Encoding: chunked"]
    sock.sendall("\r\n".join([*head, *(f"{name}: {text}" for name, text in headers.items()), "\r\n"]).encode())
    return sock


def chunk(what: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(what), what)


def answer_to(sock: socket.socket, line: bytes) -> bytes:
    """Send this line again and again, for ever, until there is an answer."""
    flood = chunk(line * (PIECE // len(line)))
    with suppress(OSError):  # hung up on: what was answered before is there
        while not select.select([sock], [], [], 0)[0]:
            sock.sendall(flood)
    return sock.recv(PIECE)


@contextmanager
def flooded(sock: socket.socket, line: bytes) -> Iterator[None]:
    """Meanwhile somebody sends this line without a pause."""
    flood, enough = chunk(line * (PIECE // len(line))), Flag()

    def send() -> None:
        while not enough.is_set():
            sock.sendall(flood)

    sending = gevent.spawn(send)
    try:
        gevent.sleep(0.5)  # until it is in full flow
        yield
        assert not sending.ready(), "it went on all the time"
    finally:
        enough.set()
        sending.kill()
        sock.close()


def check_answered(alice: Person) -> None:
    for _ in range(TIMES):
        began = time.monotonic()
        assert alice.call("GET", "/threads")[0] == 200
        assert time.monotonic() - began < SOON


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("application/x-ndjson", b"\n"),
        ("application/x-ndjson", b" " * 1000 + b"\r\n"),
        ("text/event-stream", b"\n"),
        ("text/event-stream", b": still there\n\n"),
        ("text/event-stream", b"event: x\ndata: [DONE]\n\n"),
    ],
)
@pytest.mark.parametrize("is_known", [False, True], ids=["stranger", "agent"])
def test_who_says_nothing_without_end_is_refused(alice: Person, is_known: bool, kind: str, line: bytes) -> None:
    """Also before it is known who that is."""
    headers = {"Authorization": f"Bearer {alice.server.agent_token}"} if is_known else STRANGER
    with begun(alice.server, kind, {**headers, "webhook-timestamp": str(int(time.time()))}) as sock:
        if is_known:
            first = json.dumps({"thread_id": alice.new_thread(), "run_id": uuid4().hex}).encode()
            sock.sendall(chunk(b"data: " * (kind == "text/event-stream") + first + b"\n"))
        answer = answer_to(sock, line)
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert b'"empty"' in answer
    check_answered(alice)


def test_who_is_silent_in_lines_now_and_then_is_there_all_the_same(alice: Person) -> None:
    """As SSE proxies do it; however much that is in the end, between two events it is little."""
    thread_id = alice.new_thread()
    events = [{"thread_id": thread_id, "run_id": "silent"}, *[{"type": "token", "text": "a"}] * 5, {"type": "done"}]
    with begun(alice.server, "text/event-stream", {"Authorization": f"Bearer {alice.server.agent_token}"}) as sock:
        for event in events:
            sock.sendall(chunk(b": still there\n\n" * 2000) + chunk(b"data: %s\n\n" % json.dumps(event).encode()))
        assert sock.recv(PIECE).startswith(b"HTTP/1.1 200 ")
    assert [message["text"] for message in alice.history(thread_id)] == ["aaaaa"]


def test_an_agent_that_says_empty_words_without_a_pause_keeps_nobody_from_their_answer(alice: Person) -> None:
    sock = begun(alice.server, "application/x-ndjson", {"Authorization": f"Bearer {alice.server.agent_token}"})
    sock.sendall(chunk(json.dumps({"thread_id": alice.new_thread(), "run_id": "empty"}).encode() + b"\n"))
    with flooded(sock, b'{"type":"token","text":""}\n'):
        check_answered(alice)


def test_an_agent_that_goes_on_without_end_after_it_was_answered_keeps_nobody_from_their_answer(alice: Person) -> None:
    first = {"thread_id": alice.new_thread(), "run_id": "answered"}
    flood = chunk(b'{"type":"token","text":"more"}\n' * (PIECE // 32))
    with begun(alice.server, "application/x-ndjson", {"Authorization": f"Bearer {alice.server.agent_token}"}) as sock:
        for said in (first, {"type": "message", "text": "That is all."}):
            sock.sendall(chunk(json.dumps(said).encode() + b"\n"))

        def go_on() -> None:
            with suppress(OSError):  # hung up on in the end
                while True:
                    sock.sendall(flood)

        going_on = gevent.spawn(go_on)
        check_answered(alice)
        going_on.get(timeout=10)
