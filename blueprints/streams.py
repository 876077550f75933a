"""Streams: everything of the signed-in participant, or one thread of it, as it happens; with `wait`, piece by piece."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator
from secrets import token_hex
from socket import socket

from flask import Blueprint, Response, jsonify, request

from blueprints.guards import viewer
from blueprints.parts import hub, store
from blueprints.requests import query_int
from chat import threads
from chat.accounts import Viewer
from chat.errors import Invalid
from chat.store import StoreAway
from realtime import metrics
from realtime.cursor import Cursor
from realtime.peer import watched
from realtime.poll import Poll, entries
from realtime.stream import Filter, Stream, bye

bp = Blueprint("streams", __name__)
logger = logging.getLogger(__name__)

SLICE = 16 * 1024  # bytes that must get through within realtime.peer.STALLED: a slow line must manage one
FOCUS = 20  # threads
LONGEST = 120  # seconds that a poll may wait
PAGE_NAME = 64  # characters
HEADERS = {
    "Cache-Control": "no-cache, no-store, no-transform",
    "X-Accel-Buffering": "no",  # nginx would otherwise keep every byte until its buffer is full
}


@bp.get("/stream")
def everything() -> Response:
    """All of the participant's log; of the threads in `focus` also what is not in the log: answers being written."""
    who = viewer()
    focus = [name for name in request.args.get("focus", "").split(",") if name]
    if len(focus) > FOCUS:
        raise Invalid("too_many", f"a stream may have up to {FOCUS} threads in focus", "focus")
    if focus:  # what is not theirs is passed over, as if it were not there
        focus = store().peek(lambda s: threads.among_own(s, who, focus))
    return respond(who, who.participant_id, who.grant, lambda event: True, "everything", focus)


@bp.get("/threads/<thread_id>/events")
def one_thread(thread_id: str) -> Response:
    """One thread: a filter on the same log, so with the same ids. An operator may watch a participant's."""
    who = viewer()
    thread = store().peek(lambda s: threads.fetch(s, who, thread_id))
    right = who.grant if thread.participant_id == who.participant_id else who.operators_grant
    return respond(who, thread.participant_id, right, lambda event: event.thread_id == thread_id, "thread", [thread_id])


@bp.errorhandler(StoreAway)
def store_away(_error: StoreAway) -> Response:
    return refuse("limit")


def respond(who: Viewer, log: str, grant: str, shows: Filter, kind: str, focus: Collection[str]) -> Response:
    wait = query_int("wait", 0, LONGEST)
    if request.method == "HEAD":
        return event_stream(())  # it would be counted, and never end
    page = request.args.get("page", "")
    if len(page) > PAGE_NAME:
        raise Invalid("too_long", f"a page's name has up to {PAGE_NAME} characters", "page")
    about = {"conn": token_hex(8), "owner": who.user.id, "page": page, "kind": kind}
    if wait is not None:
        return poll(
            Poll(hub(), log, grant, shown_cursor(), shows, focus=focus, seconds=wait, **about | {"kind": "poll"})
        )
    stream = Stream(hub(), log, grant, shown_cursor(), shows, focus=focus, **about)
    if reason := hub().refuses(stream):
        return refuse(reason)
    return event_stream(serve(stream, request.environ.get("gunicorn.socket")))


def poll(stream: Poll) -> Response:
    """What the stream would tell, as JSON, as soon as there is something."""
    if reason := hub().refuses(stream):
        return refuse(reason)
    with watched(request.environ.get("gunicorn.socket"), on_gone=stream.hang_up):
        return jsonify(stream.answer())


def refuse(reason: str) -> Response:
    """What waiting heals is told by a `bye` when to come back: any error status ends an EventSource for good."""
    metrics.STREAMS_REFUSED.labels(reason).inc()
    logger.info("a stream is asked to come back later (%s)", reason)
    parsed = Cursor.parse(shown_cursor() or "")
    cursor = str(parsed) if parsed else None
    last = [bye(reason, cursor)]
    return jsonify(events=entries(last), cursor=cursor) if "wait" in request.args else event_stream(last)


def shown_cursor() -> str | None:
    return request.headers.get("Last-Event-ID") or request.args.get("last_event_id")


def event_stream(body: Iterable[bytes]) -> Response:
    return Response(body, mimetype="text/event-stream", headers=HEADERS)


def serve(stream: Stream, sock: socket | None) -> Iterator[bytes]:
    # Runs after the view is over: no request, no session, no database connection lives as long as a stream.
    with watched(sock, on_gone=stream.hang_up):
        for frame in stream.serve():
            yield from (frame[at : at + SLICE] for at in range(0, len(frame), SLICE))
