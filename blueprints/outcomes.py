"""Waiting within a request until a question has been answered: REST mode."""

from __future__ import annotations

from contextlib import suppress
from secrets import token_hex
from typing import Any

import gevent
from flask import request

from blueprints.parts import hub, store
from chat.accounts import Viewer
from chat.outcome import outcome, run_of
from chat.runs import WRITABLE
from chat.store import StoreAway
from realtime.event import Event
from realtime.peer import watched
from realtime.stream import Stream

LONGEST = 120  # seconds

Outcome = dict[str, Any]


def wait_for(who: Viewer, message: dict[str, Any], seconds: float) -> Outcome:
    """The message, its run and the answer, None if there is none after so many seconds.

    The message is stored, whatever goes wrong here: then there is only no answer yet.
    """
    found: Outcome = {"message": message, "answer": None, "run": None}
    with suppress(StoreAway):
        run_id = store().peek(lambda s: run_of(s, message["id"]))
        if run_id and not look(found, run_id) and seconds:
            watch(who, message["thread_id"], found, run_id, seconds)
    return found


def watch(who: Viewer, thread_id: str, found: Outcome, run_id: str, seconds: float) -> None:
    """Look as often as a run of the thread changes. What tells us is a stream that nobody reads: it counts as one, and
    ends as they do, also if the client goes."""

    def shows(event: Event) -> bool:
        return event.thread_id == thread_id and event.kind in ("run", "thread")  # which may be deleted

    about = {"conn": token_hex(8), "owner": who.user.id, "kind": "answer"}
    stream = Stream(hub(), who.participant_id, who.grant, None, shows, **about)
    if hub().refuses(stream):
        return
    timer = gevent.spawn_later(seconds, stream.hang_up)
    try:
        with watched(request.environ.get("gunicorn.socket"), on_gone=stream.hang_up):
            for (
                _
            ) in stream.serve():  # at once when it has joined: what happened before is seen now, what comes after, then
                with suppress(StoreAway):
                    if look(found, run_id):
                        stream.hang_up()
    finally:
        timer.kill()


def look(found: Outcome, run_id: str) -> bool:
    """Note how the run stands, and say whether there is anything to wait for no more."""
    known = store().peek(lambda s: outcome(s, run_id))
    found |= known or {"run": None}
    return known is None or known["run"]["status"] not in WRITABLE
