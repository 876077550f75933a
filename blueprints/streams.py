"""Streams: everything of the signed-in participant, or one thread of it, as it happens."""

from __future__ import annotations

from collections.abc import Iterator
from secrets import token_hex

from flask import Blueprint, Response, request

from blueprints.guards import viewer
from blueprints.parts import hub, store
from chat import threads
from realtime.cursor import Cursor
from realtime.peer import watched
from realtime.stream import Filter, Stream, bye

bp = Blueprint("streams", __name__)

FOCUS = 20  # threads
HEADERS = {
    "Cache-Control": "no-cache, no-store, no-transform",
    "X-Accel-Buffering": "no",  # nginx would otherwise keep every byte until its buffer is full
}


@bp.get("/stream")
def everything() -> Response:
    """All of the participant's log. `focus` names up to 20 threads that the page shows now."""
    who = viewer()
    focus = [part for part in request.args.get("focus", "").split(",") if part][:FOCUS]
    store().peek(lambda s: [threads.fetch_own(s, who, id) for id in focus])
    return respond(who.participant_id, who.grant, lambda event: True)


@bp.get("/threads/<thread_id>/events")
def one_thread(thread_id: str) -> Response:
    """One thread: a filter on the same log, so with the same ids. An operator may watch a participant's."""
    who = viewer()
    thread = store().peek(lambda s: threads.fetch(s, who, thread_id))
    return respond(thread.participant_id, who.grant, lambda event: event.thread_id == thread_id)


def respond(log: str, grant: str, shows: Filter) -> Response:
    """Answer with a stream; one that cannot be taken now is told when to come back, since any error status is fatal."""
    shown = request.headers.get("Last-Event-ID") or request.args.get("last_event_id")
    refusal = "drain" if hub().draining else "limit" if hub().is_full else None
    if refusal:
        cursor = Cursor.parse(shown or "")
        body: Iterator[bytes] = iter([bye(refusal, cursor and str(cursor))])
    else:
        stream = Stream(hub(), log, grant, shown, shows, conn=token_hex(8))
        body = serve(stream, request.environ.get("gunicorn.socket"))
    return Response(body, mimetype="text/event-stream", headers=HEADERS)


def serve(stream: Stream, sock: object) -> Iterator[bytes]:
    # Runs after the view is over: no request, no session, no database connection lives as long as a stream.
    with watched(sock, on_gone=stream.hang_up):  # type: ignore[arg-type]
        yield from stream.serve()
