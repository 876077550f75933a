"""The webhook: where agents post what they have to say."""

from __future__ import annotations

import logging
import sys
import time
from typing import NoReturn

import msgspec
from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import RequestEntityTooLarge

import logs
from blueprints.guards import bearer_token
from blueprints.parts import refusals, secret_key, settings, store
from blueprints.requests import whole_body
from chat import agents, deliveries, signatures
from chat.answers import Answer
from chat.errors import ChatError
from chat.models import Agent
from chat.tokens import webhook_secret

bp = Blueprint("webhook", __name__, url_prefix="/webhook")
logger = logging.getLogger(__name__)


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
    bearer = agent_by_bearer()
    if bearer is None and not signatures.is_fresh(request.headers, time.time()):
        refuse()  # without reading on: a body is work, and this one comes from nobody
    body = read_body()
    agent = bearer or agent_by_signature(body) or refuse()
    logs.about(agent=agent.id, tenant=agent.tenant_id)
    said = TooLarge() if body is None else deliveries.read(body)
    size = (request.content_length or 0) if body is None else len(body)
    key = request.headers.get("webhook-id") or request.headers.get("Idempotency-Key")
    if isinstance(said, Answer):
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
