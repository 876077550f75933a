"""Streams: everything of the signed-in participant, or one thread of it, as it happens."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from secrets import token_hex
from socket import socket

from flask import Blueprint, Response, request

from blueprints.guards import viewer
from blueprints.parts import hub, store
from chat import threads
from chat.accounts import Viewer
from chat.store import StoreAway
from realtime import metrics
from realtime.cursor import Cursor
from realtime.peer import watched
from realtime.stream import Filter, Stream, bye

bp = Blueprint("streams", __name__)
logger = logging.getLogger(__name__)

SLICE = 16 * 1024  # bytes that must get through within realtime.peer.STALLED: a slow line must manage one
PAGE_NAME = 64  # characters of `?page=` that count
HEADERS = {
    "Cache-Control": "no-cache, no-store, no-transform",
    "X-Accel-Buffering": "no",  # nginx would otherwise keep every byte until its buffer is full
}


@bp.get("/stream")
def everything() -> Response:
    """All of the participant's log. `focus`, the threads that the page shows, narrows only what is not in the log."""
    who = viewer()
    return respond(who, who.participant_id, who.grant, lambda event: True, "everything")


@bp.get("/threads/<thread_id>/events")
def one_thread(thread_id: str) -> Response:
    """One thread: a filter on the same log, so with the same ids. An operator may watch a participant's."""
    who = viewer()
    thread = store().peek(lambda s: threads.fetch(s, who, thread_id))
    right = who.grant if thread.participant_id == who.participant_id else who.operators_grant
    return respond(who, thread.participant_id, right, lambda event: event.thread_id == thread_id, "thread")


@bp.errorhandler(StoreAway)
def store_away(_error: StoreAway) -> Response:
    return refuse("limit")


def respond(who: Viewer, log: str, grant: str, shows: Filter, kind: str) -> Response:
    if request.method == "HEAD":
        return event_stream(())  # it would be counted, and never end
    page = request.args.get("page", "")[:PAGE_NAME]
    stream = Stream(
        hub(), log, grant, shown_cursor(), shows, conn=token_hex(8), owner=who.user.id, page=page, kind=kind
    )
    if reason := hub().refuses(stream):
        return refuse(reason)
    return event_stream(serve(stream, request.environ.get("gunicorn.socket")))


def refuse(reason: str) -> Response:
    """What waiting heals is told by a `bye` when to come back: any error status ends an EventSource for good."""
    metrics.STREAMS_REFUSED.labels(reason).inc()
    logger.info("a stream is asked to come back later (%s)", reason)
    cursor = Cursor.parse(shown_cursor() or "")
    return event_stream([bye(reason, str(cursor) if cursor else None)])


def shown_cursor() -> str | None:
    return request.headers.get("Last-Event-ID") or request.args.get("last_event_id")


def event_stream(body: Iterable[bytes]) -> Response:
    return Response(body, mimetype="text/event-stream", headers=HEADERS)


def serve(stream: Stream, sock: socket | None) -> Iterator[bytes]:
    # Runs after the view is over: no request, no session, no database connection lives as long as a stream.
    with watched(sock, on_gone=stream.hang_up):
        for frame in stream.serve():
            yield from (frame[at : at + SLICE] for at in range(0, len(frame), SLICE))
