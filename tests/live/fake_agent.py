"""An agent to be asked: a process of its own that notes what it is asked and behaves as it was told.

`python -m tests.live.fake_agent PORT TOKEN MODE`. GET gives what it was asked, as JSON; PUT sets the mode:
`answer` (202, then a webhook), `half` (202, then half an answer in a body that goes on), `accept` (202 and silence),
`refuse` (400), `fail` (500) or `hang` (takes its time).
"""

from __future__ import annotations

import json
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from agents.client import Answer

HANG = 60.0  # seconds
STATUS = {"answer": 202, "half": 202, "accept": 202, "refuse": 400, "fail": 500}
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class FakeAgent(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, token: str, mode: str) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.token, self.mode = token, mode
        self.asked: list[dict[str, Any]] = []


class Handler(BaseHTTPRequestHandler):
    server: FakeAgent

    def do_GET(self) -> None:
        self._reply(200, json.dumps(self.server.asked).encode())

    def do_PUT(self) -> None:
        self.server.mode = self._body().decode()
        self._reply(204)

    def do_POST(self) -> None:
        body, mode = self._body(), self.server.mode
        self.server.asked.append({"headers": dict(self.headers), "body": body.decode(), "at": time.time()})
        if mode == "hang":
            time.sleep(HANG)
        self._reply(STATUS.get(mode, 202))
        if say := {"answer": self._answer, "half": self._begin}.get(mode):
            threading.Thread(target=say, args=[json.loads(body)], daemon=True).start()

    def _begin(self, question: dict[str, Any]) -> None:
        url, thread_id, run_id = (question[name] for name in ("callback_url", "thread_id", "run_id"))
        with Answer(url, thread_id, run_id, token=self.server.token) as answer:
            answer.token("Half an answer")
            time.sleep(HANG)

    def _answer(self, question: dict[str, Any]) -> None:
        said = {"text": f"answer to {question['message']['text']}"}
        body = json.dumps({"thread_id": question["thread_id"], "run_id": question["run_id"], "message": said})
        headers = {"Authorization": f"Bearer {self.server.token}"}
        request = urllib.request.Request(question["callback_url"], body.encode(), headers)
        with OPENER.open(request, timeout=10) as response:
            response.read()

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _reply(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


if __name__ == "__main__":
    FakeAgent(int(sys.argv[1]), sys.argv[2], sys.argv[3]).serve_forever()
