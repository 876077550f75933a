"""The numbers of all workers, for Prometheus."""

from __future__ import annotations

import hmac
from contextlib import suppress
from ipaddress import ip_address

from flask import Blueprint, Response, abort, request

from agents import outbox
from blueprints.guards import bearer_token
from blueprints.parts import settings, store
from chat.store import StoreAway
from realtime import metrics

bp = Blueprint("metrics", __name__)

FROM_A_PROXY = ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Real-IP", "Forwarded", "Via")


@bp.get("/metrics")
def show() -> Response:
    """For who knows METRICS_TOKEN or, if there is none, for this machine. Everybody else finds nothing here."""
    if not (knows_the_token() if settings().METRICS_TOKEN else is_from_here()):
        abort(404)
    with suppress(StoreAway):  # it is then that the other numbers are wanted
        metrics.OUTBOX_WAITING.set(store().peek(outbox.waiting))
    return Response(metrics.exposition(), content_type=metrics.CONTENT_TYPE)


def knows_the_token() -> bool:
    return hmac.compare_digest((bearer_token() or "").encode(), settings().METRICS_TOKEN.encode())


def is_from_here() -> bool:
    """A proxy on this machine comes from here too, on behalf of anybody."""
    try:
        is_loopback = ip_address(request.remote_addr or "").is_loopback
    except ValueError:
        return False
    return is_loopback and not any(name in request.headers for name in FROM_A_PROXY)
