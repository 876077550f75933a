"""What all fakes have in common: they behave as they are told by `PUT /script`, and `GET /seen` tells what befell them.

A script: `words` (what is said, piece by piece), `pause` (seconds before each), `manner` and `at` (after how many
words): `break` cuts the connection, `end` ends the body as if nothing were missing, `stall` says no more, `refuse`
answers `status` with `error` instead. `reasoning`, `question` and `tool` are said beside the words.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Stage(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port: int, handler: type[Player]) -> None:
        super().__init__(("127.0.0.1", port), handler)
        self.script: dict[str, Any] = {"words": ["Hello"]}
        self.seen: list[dict[str, Any]] = []
        self.lock = threading.Lock()


class Closed(Exception):
    """Whoever asked has hung up."""


class Player(BaseHTTPRequestHandler):
    """A request's handler; `play` is what a fake does with a POST."""

    server: Stage
    protocol_version = "HTTP/1.1"
    wbufsize = 0

    def do_GET(self) -> None:
        if self.path == "/seen":
            self.reply(200, self.server.seen)
        else:
            self.get()

    def do_PUT(self) -> None:
        self.server.script = self.body()
        with self.server.lock:
            self.server.seen.clear()
        self.reply(200, {})

    def do_POST(self) -> None:
        self.play(self.body())

    def get(self) -> None:
        self.reply(404, {})

    def play(self, body: Any) -> None:
        raise NotImplementedError

    # What was seen

    def note(self, body: Any, **more: Any) -> dict[str, Any]:
        """One question: what it was, and later when its asker `closed`, and whether all was `said`."""
        headers = {name.lower(): text for name, text in self.headers.items()}
        seen = {"path": self.path, "headers": headers, "body": body, "at": time.time(), "words": 0}
        seen |= {"closed": None, "said": False, **more}
        with self.server.lock:
            self.server.seen.append(seen)
        return seen

    def words(self, seen: dict[str, Any], script: dict[str, Any]) -> Any:
        """The words at their pace, as long as somebody listens. Raises Closed; cuts or stalls as the script says."""
        for number, word in enumerate([*script.get("words", ()), None]):
            if number == script.get("at") and script.get("manner") in ("break", "end", "stall"):
                self.misbehave(script["manner"], seen)
                return
            if word is None:
                break
            self.wait(script.get("pause", 0), seen)
            seen["words"] = number + 1
            yield word
        seen["said"] = True

    def misbehave(self, manner: str, seen: dict[str, Any]) -> None:
        if manner == "stall":
            self.wait(3600, seen)
        if manner == "break":
            self.connection.shutdown(socket.SHUT_RDWR)
            raise Closed

    def wait(self, seconds: float, seen: dict[str, Any]) -> None:
        """Wait, and notice at once when the other side closes."""
        readable, _, _ = select.select([self.connection], [], [], seconds)
        if readable and self.is_closed():
            seen["closed"] = time.time()
            raise Closed

    def is_closed(self) -> bool:
        try:
            return not self.connection.recv(1, socket.MSG_PEEK)
        except OSError:  # who asked was killed
            return True

    # HTTP

    def body(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"null")

    def reply(self, status: int, said: Any, **headers: str) -> None:
        body = json.dumps(said).encode()
        self.send_response(status)
        for name, text in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        self.wfile.write(body)

    def begin(self, **headers: str) -> None:
        """The head of an SSE answer, chunked as real servers send it."""
        self.send_response(200)
        for name, text in {"Content-Type": "text/event-stream; charset=utf-8", **headers}.items():
            self.send_header(name.replace("_", "-"), text)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, data: bytes, seen: dict[str, Any]) -> None:
        try:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        except OSError:
            seen["closed"] = seen["closed"] or time.time()
            raise Closed from None

    def finish_body(self) -> None:
        self.wfile.write(b"0\r\n\r\n")

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (Closed, OSError):
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass


def serve(handler: type[Player]) -> None:
    """`python -m tests.fakes.NAME PORT`"""
    Stage(int(sys.argv[1]), handler).serve_forever()
