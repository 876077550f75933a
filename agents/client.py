"""For those who write an agent: say an answer word by word. Only the standard library; copy this file to your own.

    with Answer(question["callback_url"], question["thread_id"], question["run_id"], secret=SECRET) as answer:
        answer.stage("retrieval")
        for word in model(question):
            answer.token(word)

Leaving the block ends the answer, an exception ends it as failed. A connection that breaks is made again, and what was
said is said again: the server passes over what it knows, so nothing is lost or doubled. `Stopped` is raised when the
person has stopped the answer, or another goes on with it: then there is nobody to write for.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import select
import ssl
import time
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from io import BufferedReader
from types import SimpleNamespace, TracebackType
from typing import Any
from urllib.parse import urlsplit

WAITS = (0.2, 0.5, 1, 2, 4, 8, 16)  # seconds before a broken connection is made again
TIMEOUT = 40.0  # seconds that the server may take
AGAIN = ("incomplete", "taken_over")  # something was lost on its way, or our own last connection came in late
ENDS = ("run_ended", "other_writer")  # somebody has stopped it, or another attempt to answer has begun
LATER = (408, 425, 429)  # and all from 500 on: the same may be taken in a while


class Refused(Exception):
    """The server does not want what we say; `status` is HTTP's, the message the server's own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Stopped(Refused):
    """The answer has ended without us."""


class Unreachable(ConnectionError):
    """The server could not be reached for half a minute."""


class Answer:
    """One answer. With a webhook `secret` its first line is signed; a `token` is sent as it is.

    All that says something raises Stopped, Refused, Unreachable. It is for one thread.
    """

    def __init__(self, url: str, thread_id: str, run_id: str, *, secret: str = "", token: str = "") -> None:
        self._url = url.replace("/webhook/chat-response", "/webhook/events")
        beginning = {"thread_id": thread_id, "run_id": run_id, "writer": secrets.token_hex(8)}
        self._beginning = json.dumps(beginning).encode()
        self._key, self._secret, self._token = run_id, secret, token
        self._said: list[bytes] = []
        self._has_ended = False
        self._line: Line | None = None

    # What there is to say

    def token(self, text: str) -> None:
        self.say("token", text=text)

    def reasoning(self, text: str) -> None:
        self.say("reasoning", text=text)

    def stage(self, name: str) -> None:
        self.say("stage", name=name)

    def tool(self, name: str, **told: Any) -> None:
        """`id`, `status` (running, success, error), `input`, `output`."""
        self.say("tool", name=name, **told)

    def sources(self, *sources: dict[str, Any]) -> None:
        """Each may have `title`, `url`, `text`, `score`."""
        self.say("sources", sources=list(sources))

    def quality_score(self, score: float) -> None:
        """From 0 to 1."""
        self.say("quality_score", score=score)

    def follow_up_questions(self, *questions: str) -> None:
        self.say("follow_up_questions", questions=list(questions))

    def metadata(self, **told: Any) -> None:
        """`model`, `usage` ({input_tokens, output_tokens, total_tokens}), `data`."""
        self.say("metadata", **told)

    def say(self, type: str, **told: Any) -> None:
        """Say any event that does not end the answer."""
        self._said.append(json.dumps({"type": type, **told}).encode())
        self._send()

    # How it ends

    def ask(self, text: str) -> None:
        """Ask the person, and end: what they say next comes as a question of its own."""
        self._end("question", text=text)

    def fail(self, message: str) -> None:
        """End as failed; the person reads the message."""
        self._end("error", message=message)

    def done(self) -> None:
        """End well; leaving the block does so, too."""
        self._end("done", count=len(self._said))

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if kind is None and not self._has_ended:
                self.done()
            elif kind is not None and issubclass(kind, Exception) and not issubclass(kind, Refused | Unreachable):
                with suppress(Refused, Unreachable):  # the first error is the one to be seen
                    self.fail("The agent failed.")
        finally:
            self._hang_up()

    def _end(self, type: str, **told: Any) -> None:
        if not self._has_ended:
            self._has_ended = True
            self._said.append(json.dumps({"type": type, **told}).encode())
            try:
                self._send()
            finally:
                self._hang_up()

    # How it gets there

    def _send(self) -> None:
        """Send the newest event, or all anew where the connection is gone."""
        for wait in (*WAITS, None):
            try:
                self._write()
                return
            except Refused:
                self._hang_up()
                raise
            except (OSError, HTTPException) as error:
                self._hang_up()
                if wait is None:
                    raise Unreachable(f"the server cannot be reached: {error}") from error
                time.sleep(wait)

    def _write(self) -> None:
        if self._line is None:
            self._line = Line(self._url, self._headers())
            self._line.send(self._beginning, *self._said)
        elif self._line.is_answered:  # before the end: it does not go on
            self._read_answer()
            raise ConnectionError("the server closed the body")
        else:
            self._line.send(self._said[-1])
        if self._has_ended:
            self._line.end()
            self._read_answer()

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/x-ndjson", "Transfer-Encoding": "chunked"}
        if self._token:
            return {**headers, "Authorization": f"Bearer {self._token}"}
        now = str(int(time.time()))
        key = base64.b64decode(self._secret.removeprefix("whsec_"))
        signed = hmac.new(key, f"{self._key}.{now}.".encode() + self._beginning, hashlib.sha256).digest()
        signature = f"v1,{base64.b64encode(signed).decode()}"
        return {**headers, "webhook-id": self._key, "webhook-timestamp": now, "webhook-signature": signature}

    def _read_answer(self) -> None:
        """Return if all is well; raises ConnectionError where it helps to say it all again."""
        if self._line is None:
            return
        status, body = self._line.answer()
        error = error_in(body)
        if status < 300 and self._has_ended and not is_received(body):
            raise ConnectionError("the server stopped in the middle")
        if status < 300:
            return
        if status >= 500 or status in LATER or error["code"] in AGAIN:
            raise ConnectionError(f"HTTP {status}")
        if error["code"] not in ENDS:
            raise Refused(status, f"{error['field']}: {error['message']}" if error["field"] else error["message"])
        if error["code"] == "run_ended" and self._has_ended and error["have"] == len(self._said):
            return  # it knows it all: its answer was lost
        raise Stopped(status, error["message"])

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
        self._line = None


class Line:
    """One POST whose body goes on and on. Its answer may come at any time."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        parts = urlsplit(url)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT)
        self._connection.putrequest("POST", f"{parts.path}?{parts.query}" if parts.query else parts.path)
        for name, text in headers.items():
            self._connection.putheader(name, text)
        self._connection.endheaders()
        self._socket = self._connection.sock
        self._reader: BufferedReader = self._socket.makefile("rb")

    def send(self, *lines: bytes) -> None:
        self._socket.sendall(b"".join(b"%x\r\n%s\n\r\n" % (len(line) + 1, line) for line in lines))

    def end(self) -> None:
        self._socket.sendall(b"0\r\n\r\n")

    @property
    def is_answered(self) -> bool:
        """Has the server begun to answer? Raises ConnectionError if it has hung up."""
        if not select.select([self._socket], [], [], 0)[0]:
            return False
        self._socket.settimeout(0)
        try:
            if not self._reader.peek(1):
                raise ConnectionError("the server hung up")
            return True
        except ssl.SSLWantReadError:
            return False  # TLS had something to say, not the server
        finally:
            self._socket.settimeout(TIMEOUT)

    def answer(self) -> tuple[int, bytes]:
        """The status and the body; waits for them."""
        response = HTTPResponse(SimpleNamespace(makefile=lambda _: self._reader), method="POST")  # type: ignore[arg-type]
        response.begin()
        return response.status, response.read()

    def close(self) -> None:
        self._reader.close()
        self._connection.close()


def is_received(body: bytes) -> bool:
    """Has the answer ended, and is it stored?"""
    try:
        return bool(json.loads(body)["status"] == "received")
    except (ValueError, KeyError, TypeError):
        return False


def error_in(body: bytes) -> dict[str, Any]:
    """What the server says is wrong: `code`, `message` and, of an answer that has ended, how many events it `have`s."""
    found: dict[str, Any] = {"code": "", "message": body[:200].decode(errors="replace"), "have": None, "field": None}
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        said = json.loads(body)
        found |= {**said["error"], "have": said.get("have")}
    return found
