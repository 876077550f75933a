"""Messages: a thread's history, and saying something in it."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from blueprints.guards import viewer
from blueprints.parts import store
from blueprints.requests import json_body, query_int
from chat import messages
from chat.errors import Invalid

bp = Blueprint("messages", __name__, url_prefix="/threads/<thread_id>/messages")

PAGE = 50  # messages


class NewMessage(msgspec.Struct):
    text: str = ""
    data: dict[str, Any] | None = None
    client_id: str | None = None


@bp.get("")
def history(thread_id: str) -> ResponseReturnValue:
    who, before, after = viewer(), query_int("before"), query_int("after")
    limit = query_int("limit", 1, 200) or PAGE
    if before is not None and after is not None:
        raise Invalid("invalid", "send before or after, not both", "before")
    page = store().read(lambda s: messages.history(s, who, thread_id, before, after, limit))
    return jsonify(page)


@bp.post("")
def say(thread_id: str) -> ResponseReturnValue:
    who, new = viewer(), json_body(NewMessage)
    shown, repeated = store().write(lambda s: messages.say(s, who, thread_id, new.text, new.data, new.client_id))
    return jsonify(shown), 201, {"Idempotent-Replay": "true"} if repeated else {}
