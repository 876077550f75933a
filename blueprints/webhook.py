"""The webhook: where agents post what they have to say."""

from __future__ import annotations

import logging
import sys
import time

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import RequestEntityTooLarge

from blueprints.guards import bearer_token
from blueprints.parts import secret_key, settings, store
from blueprints.requests import whole_body
from chat import agents, deliveries, signatures
from chat.deliveries import Receipt
from chat.errors import ChatError
from chat.models import Agent
from chat.text import parse_json
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


@bp.post("/chat-response")
def chat_response() -> ResponseReturnValue:
    """Take an agent's answer, with any or no Content-Type. 2xx only after the commit, 503 if it cannot commit."""
    body = read_body()
    if body is None:
        return too_large()
    agent = agent_by_bearer() or agent_by_signature(body)
    if agent is None:
        logger.warning("refused a webhook without a valid credential")
        raise Unauthenticated
    key = request.headers.get("webhook-id") or request.headers.get("Idempotency-Key")
    return respond(store().write(lambda s: deliveries.receive(s, agent, body, key)))


def respond(receipt: Receipt) -> ResponseReturnValue:
    headers = {"Idempotent-Replay": "true"} if receipt.replayed else {}
    return jsonify(receipt.body), receipt.status, headers


def read_body() -> bytes | None:
    """The raw bytes, which the signature is over; None if they are too many."""
    request.max_content_length = settings().WEBHOOK_MAX_BYTES or sys.maxsize
    try:
        return whole_body()
    except RequestEntityTooLarge:
        return None


def too_large() -> ResponseReturnValue:
    """An unread body cannot prove a signature, so only a bearer's call is known to be an agent's and entered."""
    agent = agent_by_bearer()
    error, size = TooLarge(), request.content_length or 0
    if agent is None:
        raise error
    return respond(store().write(lambda s: deliveries.refuse(s, agent, error, size)))


def agent_by_bearer() -> Agent | None:
    token = bearer_token()
    return store().peek(lambda s: agents.agent_by_token(s, token)) if token else None


def agent_by_signature(body: bytes) -> Agent | None:
    """The agent whose secret signed this body."""
    if not signatures.is_signed(request.headers):
        return None
    thread_id, named = thread_of(body), request.args.get("agent")
    for agent in store().peek(lambda s: agents.agents_who_may_sign(s, thread_id, named)):
        secret = webhook_secret(secret_key(), agent.id)
        if signatures.verify(secret, request.headers, body, time.time()):
            return agent
    return None


def thread_of(body: bytes) -> object:
    """The thread that the body claims to be about; believed only so far as to choose a secret."""
    try:
        said = parse_json(body)
    except ChatError:
        return None
    return said.get("thread_id") if isinstance(said, dict) else None
