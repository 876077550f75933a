"""Posts webhooks at a steady rate, over kept-alive connections, and prints when each began and ended.

`python -m bench.poster URL TOKEN THREAD NAME RATE SECONDS` prints JSON: {number: [began, ended, status]}, in seconds of
the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from threading import local
from urllib.parse import urlsplit

CONNECTIONS = 16

Timed = tuple[float, float, int]  # began, ended, HTTP status


class Poster:
    """As many connections as threads ask for."""

    def __init__(self, url: str, token: str, thread_id: str, name: str) -> None:
        self._address = urlsplit(url).netloc
        self._token, self._thread_id, self._name = token, thread_id, name
        self._mine = local()

    def post(self, number: int) -> Timed:
        text = f"{self._name} {number}"
        body = json.dumps({"thread_id": self._thread_id, "message": {"text": text}})
        headers = {"Authorization": f"Bearer {self._token}", "Idempotency-Key": text}
        began = time.monotonic()
        self._connection.request("POST", "/webhook/chat-response", body, headers)
        response = self._connection.getresponse()
        response.read()
        return began, time.monotonic(), response.status

    @property
    def _connection(self) -> HTTPConnection:
        if not hasattr(self._mine, "connection"):
            self._mine.connection = HTTPConnection(self._address, timeout=30)
        return self._mine.connection  # type: ignore[no-any-return]


def main(url: str, token: str, thread_id: str, name: str, rate: str, seconds: str) -> None:
    poster, count, start = Poster(url, token, thread_id, name), int(float(rate) * float(seconds)), time.monotonic()
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        waiting = {}
        for number in range(count):
            time.sleep(max(0.0, start + number / float(rate) - time.monotonic()))
            waiting[number] = pool.submit(poster.post, number)
    print(json.dumps({number: future.result() for number, future in waiting.items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
