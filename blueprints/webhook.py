"""The webhook: where agents post what they have to say."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from functools import partial
from socket import SHUT_RD, SHUT_WR, socket
from typing import Any, NoReturn

import gevent
import msgspec
from flask import Blueprint, Response, after_this_request, g, jsonify, request
from flask.typing import ResponseReturnValue
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import RequestEntityTooLarge

import logs
from agents.scribe import Writing
from blueprints.guards import bearer_token
from blueprints.lines import lines
from blueprints.parts import refusals, scribe, secret_key, settings, store
from blueprints.requests import whole_body
from chat import agents, deliveries, signatures
from chat.answers import Answer
from chat.errors import ChatError, Invalid
from chat.events import LINE, Batch, Error, read_beginning, read_line
from chat.models import Agent, Message
from chat.store import StoreAway
from chat.tokens import webhook_secret
from realtime.peer import notice_vanishing

bp = Blueprint("webhook", __name__, url_prefix="/webhook")
logger = logging.getLogger(__name__)

FIRST_LINE = 10.0  # seconds
REST = 0.2  # seconds for the end of a body whose answer has ended
LINGER = 0.5  # seconds
HEARD = 1024 * 1024  # bytes in a tenth of that
STREAMED = ("application/x-ndjson", "application/jsonl", "text/event-stream")


class Unauthenticated(ChatError):
    """The caller is no agent that we know."""

    status = 401

    def __init__(self) -> None:
        super().__init__(
            "unauthorized",
            "sign the request with the agent's webhook secret (Standard Webhooks), or send its token as a bearer token",
        )


class TooLarge(ChatError):
    """The body is larger than a webhook may be."""

    status = 413

    def __init__(self) -> None:
        super().__init__("too_large", f"the body must have at most {settings().WEBHOOK_MAX_BYTES:,} bytes")


class Claim(msgspec.Struct):
    """The thread that a body claims to be about; believed only so far as to choose a secret."""

    thread_id: str = ""


@bp.post("/chat-response")
def chat_response() -> ResponseReturnValue:
    """Take an agent's answer, with any or no Content-Type. 2xx only after the commit, 503 if it cannot commit."""
    return take(deliveries.read)


@bp.post("/events")
def events() -> ResponseReturnValue:
    """Take what an agent says while it answers: a batch of typed events, or one after another as it says them."""
    return take_stream() if request.mimetype in STREAMED else take(deliveries.read_events)


def take_stream() -> ResponseReturnValue:
    """Read the body as it comes: a first line that says whose answer it is, then an event in each line.

    A signature is over the first line alone: the rest is not known yet. 200 with `status` "received" once the answer
    has ended and is stored, "open" if the body ended before it did: it goes on in another, from event number `have`.
    """
    g.is_streamed = True
    bearer = agent_by_bearer()
    if bearer is None and not signatures.is_fresh(request.headers, time.time()):
        refuse()
    after_this_request(partial(hear_out, request.environ))
    with closing(lines(request.environ["wsgi.input"], LINE, said_in)) as events:
        first = first_of(events)
        agent = bearer or agent_by_signature(first) or refuse()
        logs.about(agent=agent.id, tenant=agent.tenant_id)
        beginning = read_beginning(first)
        logs.about(thread=beginning.thread_id)
        about = (beginning.thread_id, beginning.run_id, beginning.index, beginning.writer)
        with scribe().writing(agent, *about) as writing:
            writing.when_over(hang_up(request.environ.get("gunicorn.socket")))
            message, ended = write(writing, beginning.index, events)
        if ended:
            read_to_the_end(events)
    said = {"status": "received" if ended else "open", "thread_id": beginning.thread_id, "run_id": beginning.run_id}
    said |= {"message_id": message and message.id, "seq": message and message.seq, "have": writing.pen.count}
    return jsonify(said)


def read_to_the_end(body: Iterable[bytes]) -> None:
    """Pass over what comes after the answer's end: if that is all, the connection may take another request."""
    with gevent.Timeout(REST, False), suppress(Invalid, OSError, ParseException):
        for _ in body:
            pass


def hear_out(environ: dict[str, Any], response: Response) -> Response:
    """An agent that goes on speaking after our answer: closed with words unread, a connection is reset, and our answer
    lost with it."""
    sock: socket | None = environ.get("gunicorn.socket")
    if sock is not None and getattr(environ["wsgi.input"], "failed", False):
        response.call_on_close(partial(linger, sock))
    return response


def linger(sock: socket) -> None:
    with suppress(OSError):
        sock.shutdown(SHUT_WR)
        sock.settimeout(0.0)
        until = time.monotonic() + LINGER
        while time.monotonic() < until:
            gevent.sleep(LINGER / 10)
            with suppress(BlockingIOError):
                sock.recv(HEARD)  # and no more: one who never stops must not hold the worker


def first_of(body: Iterator[bytes]) -> bytes:
    """The first line; empty if the body breaks off before it has one, or has none in time: it may come from anybody."""
    try:
        with gevent.Timeout(FIRST_LINE):
            return next(body, b"")
    except (OSError, ParseException, gevent.Timeout):
        return b""


def hang_up(sock: socket | None) -> Callable[[], object]:
    """Makes the body end here and now, so that the agent is answered while it still thinks."""
    if sock is None:
        return lambda: None
    notice_vanishing(sock)
    return partial(shut, sock)


def shut(sock: socket) -> None:
    with suppress(OSError):  # it has closed by itself
        sock.shutdown(SHUT_RD)


def write(writing: Writing, index: int, body: Iterable[bytes]) -> tuple[Message | None, bool]:
    """Take the events of a streamed body, but for those that are known; return what became of the answer's end.

    What cannot be taken ends the answer: nothing that could follow it would be whole.
    """
    known = writing.pen.count
    try:
        for number, line in enumerate(body, index):
            if number >= known and (event := read_line(line, f"line {number - index + 2}")):
                message = writing.take(event)
                if event.is_last:
                    return message, True
            if writing.is_left:  # though the agent has gone on speaking since we hung up
                break
    except Invalid as error:
        writing.take(Error(f"The agent said what cannot be shown: {error.message}"))
        raise
    except StoreAway:
        raise
    except (OSError, ParseException):  # the body broke off
        logger.info("a streamed answer broke off after %d events", writing.pen.count)
    writing.check()
    return None, False


def said_in(line: bytes) -> bytes:
    """The JSON of a line. In an SSE body that is its data; other fields, comments and [DONE] say nothing."""
    if line.startswith(b"data:"):
        line = line[5:].strip()
        return b"" if line == b"[DONE]" else line
    if line and not line.startswith(b"{") and request.mimetype != "text/event-stream":
        raise Invalid("bad_json", "each line must be a JSON object")
    return line if line.startswith(b"{") else b""


def take(read: Callable[[bytes], Answer | Batch | ChatError]) -> ResponseReturnValue:
    bearer = agent_by_bearer()
    if bearer is None and not signatures.is_fresh(request.headers, time.time()):
        refuse()  # without reading on: a body is work, and this one comes from nobody
    body = read_body()
    agent = bearer or agent_by_signature(body) or refuse()
    logs.about(agent=agent.id, tenant=agent.tenant_id)
    said = TooLarge() if body is None else read(body)
    size = (request.content_length or 0) if body is None else len(body)
    key = request.headers.get("webhook-id") or request.headers.get("Idempotency-Key")
    if not isinstance(said, ChatError):
        logs.about(thread=said.thread_id)
    receipt = store().write(lambda s: deliveries.receive(s, agent, said, key, size))
    if "error" in receipt.body:
        logs.note(why=receipt.body["error"]["code"])
    return jsonify(receipt.body), receipt.status, {"Idempotent-Replay": "true"} if receipt.replayed else {}


def refuse() -> NoReturn:
    """Raise Unauthenticated; the refusal is counted, and leaves no row."""
    logger.warning("refused webhook %d without a valid credential, from %s", next(refusals()), request.remote_addr)
    raise Unauthenticated


def read_body() -> bytes | None:
    """The raw bytes, which the signature is over; None if they are too many."""
    request.max_content_length = settings().WEBHOOK_MAX_BYTES or sys.maxsize
    try:
        return whole_body()
    except RequestEntityTooLarge:
        return None


def agent_by_bearer() -> Agent | None:
    token = bearer_token()
    return store().peek(lambda s: agents.agent_by_token(s, token)) if token else None


def agent_by_signature(body: bytes | None) -> Agent | None:
    """The agent whose secret signed this body. Raises TooLarge for one that is too large to be checked."""
    if body is None:
        raise TooLarge
    named = request.args.get("agent")
    thread_id = "" if named else claimed_thread(body)
    for agent in store().peek(lambda s: agents.agents_who_may_sign(s, thread_id, named)):
        if signatures.verify(webhook_secret(secret_key(), agent.id), request.headers, body, time.time()):
            return agent
    return None


def claimed_thread(body: bytes) -> str:
    # Into a Struct of one field: what else a body of megabytes holds is passed over, not built.
    try:
        return msgspec.json.decode(body, type=Claim).thread_id
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return ""
