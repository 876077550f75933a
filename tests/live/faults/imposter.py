"""What a broken proxy says in place of the server: by turns 502, 503, 429, and a page of its own that says 200."""

from __future__ import annotations

from itertools import cycle
from typing import Any

from gevent.server import StreamServer

PAGE = b"<!doctype html><title>Maintenance</title><p>We will be back soon."
STATUSES = ("502 Bad Gateway", "503 Service Unavailable", "429 Too Many Requests", "200 OK")


class Imposter(StreamServer):
    """Stands at a port until `stop`; `answers` counts."""

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), self._answer)
        self.answers = 0
        self._statuses = cycle(STATUSES)
        self.start()

    def _answer(self, caller: Any, _address: object) -> None:
        with caller:
            asked = caller.recv(65536)
            if not asked:
                return
            self.answers += 1
            # A 200 to what is said would be an acknowledgement that is not the server's: nobody could see through it.
            status = STATUSES[0] if asked.startswith(b"POST") else next(self._statuses)
            head = f"HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {len(PAGE)}\r\n"
            caller.sendall(head.encode() + b"Connection: close\r\n\r\n" + PAGE)
