"""One writer, a process of its own: posts numbered webhooks, each until it is acknowledged.

`python -m tests.live.writer URL TOKEN NAME COUNT THREAD...` prints one line: {"acknowledged", "again"}.
"""

from __future__ import annotations

import json
import random
import sys
import time
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

PATIENCE = 60.0  # seconds for one webhook


class Writer:
    """Keeps one connection. `again` counts what had to be said again; what is refused for good is an error."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        self._connection = HTTPConnection(parts.hostname or "", parts.port, timeout=10)
        self._token = token
        self.again = 0

    def post(self, thread_id: str, text: str, key: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while (status := self._try(thread_id, text, key)) != 200:
            assert status >= 500 or not status, f"{key} was refused: HTTP {status}"
            assert time.monotonic() < deadline, f"{key} was not taken in {PATIENCE:.0f} s"
            self.again += 1
            time.sleep(random.uniform(0.05, 0.2))

    def close(self) -> None:
        self._connection.close()

    def _try(self, thread_id: str, text: str, key: str) -> int:
        body = json.dumps({"thread_id": thread_id, "message": {"text": text}})
        headers = {"Authorization": f"Bearer {self._token}", "Idempotency-Key": key}
        try:
            self._connection.request("POST", "/webhook/chat-response", body, headers)
            response = self._connection.getresponse()
            response.read()
        except (OSError, HTTPException):
            self._connection.close()
            return 0
        return response.status


def main(url: str, token: str, name: str, count: str, *threads: str) -> None:
    writer = Writer(url, token)
    for number in range(int(count)):
        text = f"{name} {number}"
        writer.post(random.choice(threads), text, text.replace(" ", "-"))
    print(json.dumps({"acknowledged": int(count), "again": writer.again}))


if __name__ == "__main__":
    main(*sys.argv[1:])
