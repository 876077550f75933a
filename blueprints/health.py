"""Health: is this worker alive, and can it do its work."""

from __future__ import annotations

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from sqlalchemy import text

from blueprints.parts import hub, store, write_check
from chat.store import StoreAway

bp = Blueprint("health", __name__, url_prefix="/health")

READY = 0.4  # seconds the store is given: whoever asks for our health wants an answer within half a second


@bp.get("/live")
def live() -> ResponseReturnValue:
    """The loop turns."""
    return jsonify(status="ok")


@bp.get("/ready")
def ready() -> ResponseReturnValue:
    """200 `ok`, 200 `degraded` (no broker: slower, nothing lost) or 503 `unavailable` (no store, or none to write)."""
    broker = "ok" if hub().bus.healthy else "away"
    try:
        store().peek(lambda session: session.execute(text("SELECT 1")), wait=READY)
    except StoreAway:
        return jsonify(status="unavailable", store="away", broker=broker), 503
    if not write_check().passes():
        return jsonify(status="unavailable", store="read-only", broker=broker), 503
    return jsonify(status="ok" if broker == "ok" else "degraded", store="ok", broker=broker)
