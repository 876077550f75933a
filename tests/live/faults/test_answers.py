"""Pieces of an answer come late, doubled, in any order and from two at once: the same text every time."""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any

import gevent
import pytest

from tests.live.faults.cast import Party
from tests.live.faults.rig import Rig
from tests.live.people import Person

PIECES: list[dict[str, Any]] = [
    *({"type": "token", "text": text} for text in ("Hel", "lo, 😀", " wörld", " e\u0301")),
    {"type": "done", "count": 4},
]
TEXT = "Hello, 😀 wörld e\u0301"


@pytest.mark.row("R21", mutant="append_on_arrival")
def test_pieces_in_any_order_from_two_at_once_make_the_same_answer(whole_rig: Rig) -> None:
    """All 120 orders, each piece said twice at the same moment; then all of them once more, after the end."""
    [party] = whole_rig.cast(1, 1)
    [thread_id] = party.threads
    orders = list(permutations(range(len(PIECES))))
    for number, order in enumerate(orders):
        run_id = f"{thread_id} {number}"
        for index in order:
            twice = [gevent.spawn(put, whole_rig, party, run_id, index) for _ in range(2)]
            assert {task.get() for task in twice} == {200}
        if number % 10 == 0:
            assert {put(whole_rig, party, run_id, index) for index in order} == {200}
    person = Person(whole_rig.server, "", party.token)
    assert [message["text"] for message in person.history(thread_id)] == [TEXT] * len(orders)


def put(rig: Rig, party: Party, run_id: str, index: int) -> int:
    body = {"thread_id": party.threads[0], "run_id": run_id, "index": index, "events": [PIECES[index]]}
    headers = {"Authorization": f"Bearer {party.agent_token}", "Content-Type": "application/json"}
    return rig.server.raw("POST", "/webhook/events", json.dumps(body).encode(), None, headers)[0]
