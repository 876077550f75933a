"""Of every request: an id that stands in all it logs, a number, and a line if it is a webhook or went wrong."""

from __future__ import annotations

import logging
import re
import secrets
import time

from flask import Flask, Response, g, request

import logs
from realtime import metrics

logger = logging.getLogger(__name__)

WELL_FORMED = re.compile(r"[A-Za-z0-9._-]{1,64}")  # an X-Request-ID that we take over
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def register(app: Flask) -> None:
    """Before all else that looks at requests."""
    app.before_request(begin)
    app.after_request(end)


def begin() -> None:
    g.began = time.monotonic()
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if WELL_FORMED.fullmatch(given) else secrets.token_hex(8)
    logs.begin()
    logs.note(request=g.request_id)
    logs.about(thread=(request.view_args or {}).get("thread_id"))


def end(response: Response) -> Response:
    seconds = time.monotonic() - g.began
    response.headers["X-Request-ID"] = g.request_id
    metrics.REQUESTS.labels(request.blueprint or "none", f"{response.status_code // 100}xx").inc()
    if request.blueprint == "webhook":
        metrics.WEBHOOKS.labels(response.status_code).inc()
        if not g.get("is_streamed"):  # which takes as long as its agent speaks
            metrics.WEBHOOK_SECONDS.observe(seconds)
    if request.blueprint == "webhook" or response.status_code >= 400:
        write_line(response.status_code, round(seconds * 1000))
    return response


def write_line(status: int, ms: int) -> None:
    """The route, not the path: what a stranger asked for is theirs to choose."""
    method = request.method if request.method in METHODS else "?"
    route = request.url_rule.rule if request.url_rule else "?"
    level = logging.WARNING if status >= 500 else logging.INFO
    facts = {"method": method, "route": route, "status": status, "ms": ms}
    logger.log(level, "%s %s %d in %d ms", method, route, status, ms, extra={"facts": facts})
