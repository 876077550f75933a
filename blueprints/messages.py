"""Messages: a thread's history, saying something in it, and what can be done with what was said."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from blueprints import outcomes
from blueprints.guards import viewer
from blueprints.parts import ask, store
from blueprints.requests import json_body, query_int
from chat import messages, turns
from chat.errors import Invalid

bp = Blueprint("messages", __name__)

PAGE = 50  # messages


class NewMessage(msgspec.Struct):
    text: str = ""
    data: dict[str, Any] | None = None
    client_id: str | None = None


class Edit(msgspec.Struct):
    text: str


class Feedback(msgspec.Struct):
    """`rating` is "up", "down", 1 to 5, or null to take it back."""

    rating: str | int | None
    category: str = ""
    comment: str = ""


@bp.get("/threads/<thread_id>/messages")
def history(thread_id: str) -> ResponseReturnValue:
    who, before, after = viewer(), query_int("before"), query_int("after")
    limit = query_int("limit", 1, 200) or PAGE
    if before is not None and after is not None:
        raise Invalid("invalid", "send before or after, not both", "before")
    page = store().read(lambda s: messages.history(s, who, thread_id, before, after, limit))
    return jsonify(page)


@bp.post("/threads/<thread_id>/messages")
def say(thread_id: str) -> ResponseReturnValue:
    """With `wait`, answered once there is an answer, or after so many seconds: {message, answer, run}."""
    who, new, wait = viewer(), json_body(NewMessage), query_int("wait", 0, outcomes.LONGEST)
    shown, repeated = ask(lambda s: messages.say(s, who, thread_id, new.text, new.data, new.client_id))
    told = shown if wait is None else outcomes.wait_for(who, shown, wait)
    return jsonify(told), 201, {"Idempotent-Replay": "true"} if repeated else {}


@bp.patch("/messages/<message_id>")
def edit(message_id: str) -> ResponseReturnValue:
    """Say it otherwise: a question that waits is changed, one that was put is asked anew on another branch."""
    who, text = viewer(), json_body(Edit).text
    return jsonify(ask(lambda s: turns.edit(s, who, message_id, text)))


@bp.delete("/messages/<message_id>")
def withdraw(message_id: str) -> ResponseReturnValue:
    """Take back a question that waits."""
    who = viewer()
    store().write(lambda s: turns.withdraw(s, who, message_id))
    return "", 204


@bp.post("/messages/<message_id>/send_now")
def send_now(message_id: str) -> ResponseReturnValue:
    """Put a question that waits at once, and stop what it waits for."""
    who = viewer()
    return jsonify(store().write(lambda s: turns.send_now(s, who, message_id)))


@bp.post("/messages/<message_id>/feedback")
def feedback(message_id: str) -> ResponseReturnValue:
    """Say what one thinks of an answer."""
    who, said = viewer(), json_body(Feedback)
    return jsonify(store().write(lambda s: turns.judge(s, who, message_id, said.rating, said.category, said.comment)))
