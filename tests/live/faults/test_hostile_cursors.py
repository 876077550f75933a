"""Whatever a client shows as its cursor, in whatever header: a stream that says `reset`, or a refusal; never a 5xx."""

from __future__ import annotations

import random
import re
import socket
import string
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import pytest
from gevent.pool import Pool

from tests.live.people import Person
from tests.server import Server

CUT = 0
AT_ONCE = 4  # questions; the cap of a user's streams is ten
Question = tuple[str, list[tuple[str, str]]]  # a path and the request's fields
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")

PIECES = [
    *("", "0", "-1", "1e3", "９", "1_000", "0x10", "9" * 16, "9" * 400, "18446744073709551616", "null", "NaN", "\xa0"),
    *("reset.0", "..", "a.b.c", "*", "$", "+1", " 7", "7 ", "%00", "%0d%0aX: y", "\t", "'; --", "{{7*7}}", "../.."),
    *("[]", "😀"),
]  # fmt: skip
FIELDS = [
    "Last-Event-ID",
    "Accept",
    "Cookie",
    "Origin",
    "Referer",
    "X-Forwarded-For",
    "Forwarded",
    "User-Agent",
    "Range",
    "TE",
]


def hostile(dice: random.Random, epoch: str, head: int) -> str:
    """A cursor that somebody might show: near the truth, far from it, or none at all."""
    return dice.choice(
        [
            lambda: f"{epoch}.{dice.randint(0, 2 * head + 2)}",
            lambda: f"{epoch}.{dice.choice(PIECES)}",
            lambda: f"{dice.choice(PIECES)}.{dice.choice(PIECES)}",
            lambda: f"{dice.randbytes(4).hex()}.{dice.randint(0, 10**15)}",
            lambda: "".join(dice.choices(string.printable[:95], k=dice.choice([1, 8, 64, 4000]))),
            lambda: "".join(chr(dice.randint(0x80, 0xFF)) for _ in range(12)),
        ]
    )()


def ask(server: Server, path: str, fields: list[tuple[str, str]]) -> tuple[int, bytes]:
    """The status, and the beginning of the body."""
    lines = [f"GET {path} HTTP/1.0", *(f"{name}: {value}" for name, value in fields)]
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as sock:
        sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1", "replace"))
        received = b""
        with suppress(ConnectionResetError):  # a request line of more than 4,094 bytes is refused unread
            while b"event: " not in received and (piece := sock.recv(4096)):
                received += piece
    found = STATUS.match(received)
    return int(found[1]) if found else CUT, received.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(500, marks=pytest.mark.quick),
        pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(600)]),
    ],
)
def test_random_cursors_and_hostile_headers_never_bring_a_5xx(server: Server, alice: Person, count: int) -> None:
    thread_id = alice.new_thread()
    alice.say(thread_id, "hello")
    epoch, _, head = alice.cursor.rpartition(".")
    asked = questions(random.Random(count), count, alice.token, thread_id, epoch, int(head))
    answers: Counter[int] = Counter()
    for status, body, question in Pool(AT_ONCE).imap_unordered(lambda it: (*ask(server, *it), it), asked):
        answers[status] += 1
        assert status < 500, (question, body)
        if status == 200:
            assert body.startswith((b"event: ready\n", b"event: bye\nretry: ")), body
    assert answers[200] > count / 2, answers
    assert answers[CUT] < count / 10, answers


def questions(dice: random.Random, count: int, token: str, thread_id: str, epoch: str, head: int) -> Iterator[Question]:
    for _ in range(count):
        cursor = hostile(dice, epoch, head)
        path = dice.choice(["/stream", f"/threads/{thread_id}/events"])
        fields = [("Authorization", f"Bearer {token}"), ("Last-Event-ID", cursor)]
        fields += [(dice.choice(FIELDS), hostile(dice, epoch, head)) for _ in range(dice.randint(0, 3))]
        if dice.random() < 0.3:
            path += f"?last_event_id={''.join(f'%{byte:02x}' for byte in cursor.encode())}"
            fields.pop(1)
        yield path, fields
