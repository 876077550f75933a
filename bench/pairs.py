"""Agents that write and pages that watch them: plain sockets and one loop, since a crowd must not need the machine.

`python -m bench.pairs URL AGENT_TOKEN RATE SECONDS` reads a thread and its owner's token from each line of its input,
opens a page of each, says "ready" and lets its agent stream `RATE` words a second. They begin one after the other.
Once every answer has been seen it prints as JSON, for each word that came before its answer's end, the seconds from
when it was written until its page had it.
"""

from __future__ import annotations

import json
import random
import re
import selectors
import sys
import time
from socket import IPPROTO_TCP, TCP_NODELAY, create_connection, socket
from urllib.parse import urlsplit

BEGINNING = 5.0  # seconds over which the answers begin
PATIENCE = 30.0  # seconds for pages to open, and for the last answer
WORDS = re.compile(rb'"text":"([0-9. ]+)"')


class Page:
    """Hears of one answer. Frames repeat what is not saved yet: a word that is not newer is known."""

    def __init__(self, address: tuple[str, int], thread_id: str, token: str) -> None:
        self.socket = create_connection(address)
        head = f"GET /stream?focus={thread_id} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
        self.socket.sendall(head.encode())
        self.delays: list[float] = []
        self._newest, self._rest = 0.0, b""
        self.is_open = self.has_ended = False

    def hear(self) -> bool:
        """Is there more to come?"""
        self._rest += self.socket.recv(65536)
        now, self.is_open = time.monotonic(), True
        *events, self._rest = self._rest.split(b"\n\n")
        for event in events:
            if b"event: delta\n" in event and (said := WORDS.search(event)):
                self._note(said[1].split(), now)
            self.has_ended |= b"event: message\n" in event and b'"direction":"outgoing"' in event
        return not self.has_ended

    def _note(self, words: list[bytes], now: float) -> None:
        for word in reversed(words):
            if float(word) <= self._newest:
                break
            self.delays.append(now - float(word))
        self._newest = float(words[-1])


class Agent:
    """Streams one answer."""

    def __init__(self, address: tuple[str, int], thread_id: str, token: str) -> None:
        self._address, self._thread_id, self._token = address, thread_id, token

    def begin(self) -> socket:
        self.socket = create_connection(self._address)
        self.socket.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        head = "POST /webhook/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        head += f"Content-Type: application/x-ndjson\r\nAuthorization: Bearer {self._token}\r\n\r\n"
        self.socket.sendall(head.encode())
        self._say(f'{{"thread_id": "{self._thread_id}", "run_id": "{self._thread_id}"}}')
        return self.socket

    def go_on(self) -> None:
        self._say(f'{{"type": "token", "text": "{time.monotonic():.4f} "}}')

    def end(self) -> None:
        self._say('{"type": "done"}')
        self.socket.sendall(b"0\r\n\r\n")

    def hear(self) -> bool:
        answer = self.socket.recv(10_000)
        assert answer.startswith(b"HTTP/1.1 200"), answer
        return False

    def _say(self, line: str) -> None:
        self.socket.sendall(b"%x\r\n%s\n\r\n" % (len(line) + 1, line.encode()))


class Crowd:
    def __init__(self, url: str, agent_token: str, pairs: list[list[str]]) -> None:
        parts = urlsplit(url)
        address = (parts.hostname or "", parts.port or 80)
        self._sockets = selectors.DefaultSelector()
        self.pages = [Page(address, *pair) for pair in pairs]
        self._agents = [Agent(address, thread_id, agent_token) for thread_id, _ in pairs]
        for page in self.pages:
            self._sockets.register(page.socket, selectors.EVENT_READ, page)

    def wait_until_open(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while not all(page.is_open for page in self.pages):
            self._hear_until(time.monotonic() + 0.1)
            assert time.monotonic() < deadline, "not all pages have a stream"

    def write(self, rate: float, words: int) -> None:
        """Returns when every page has seen its answer's end."""
        now = time.monotonic()
        begins = [now + random.uniform(0, BEGINNING) for _ in self._agents]
        plan = [(at + number / rate, which, number) for which, at in enumerate(begins) for number in range(words + 2)]
        for due, which, number in sorted(plan):
            self._hear_until(due)
            agent = self._agents[which]
            if number == 0:
                self._sockets.register(agent.begin(), selectors.EVENT_READ, agent)
            elif number <= words:
                agent.go_on()
            else:
                agent.end()
        deadline = time.monotonic() + PATIENCE
        while not all(page.has_ended for page in self.pages):
            self._hear_until(time.monotonic() + 0.1)
            assert time.monotonic() < deadline, "not all answers were seen to end"

    def _hear_until(self, due: float) -> None:
        """Also if that is over: nobody is heard late because there is much to say."""
        while True:
            wait = due - time.monotonic()
            for key, _ in self._sockets.select(max(0.0, wait)):
                if not key.data.hear():
                    self._sockets.unregister(key.fileobj)
            if wait <= 0:
                return


def main(url: str, agent_token: str, rate: str, seconds: str) -> None:
    crowd = Crowd(url, agent_token, [line.split() for line in sys.stdin])
    crowd.wait_until_open()
    print("ready", flush=True)
    crowd.write(float(rate), int(float(rate) * float(seconds)))
    print(json.dumps([delay for page in crowd.pages for delay in page.delays]))


if __name__ == "__main__":
    main(*sys.argv[1:])
