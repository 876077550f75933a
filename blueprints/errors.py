"""How a refusal looks: JSON for programs, a page for people. No input ends in a 500."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from flask import Flask, jsonify, make_response, render_template, request
from flask.typing import ResponseReturnValue
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

import logs
from chat.errors import ChatError
from chat.limits import TooMany
from chat.store import StoreAway

PAGES = ("pages.home", "pages.chat", "sessions.login_form", "sessions.login", "sessions.logout", "assets.file")
NOTHING: Mapping[str, Any] = MappingProxyType({})
TITLES = {403: "Not from here", 404: "There is nothing here", 503: "Back in a moment"}


def register(app: Flask) -> None:
    app.register_error_handler(ChatError, of_chat)
    app.register_error_handler(TooMany, of_limit)
    app.register_error_handler(StoreAway, of_store)
    app.register_error_handler(RequestEntityTooLarge, of_size)
    app.register_error_handler(HTTPException, of_http)
    app.register_error_handler(ParseException, of_framing)


def of_chat(error: ChatError) -> ResponseReturnValue:
    return answer(error.status, error.code, error.message, {"field": error.field} if error.field else {}, error.more)


def of_limit(error: TooMany) -> ResponseReturnValue:
    response = make_response(answer(error.status, error.code, error.message, {"retry_after": error.retry_after}))
    response.headers["Retry-After"] = str(error.retry_after)
    return response


def of_store(error: StoreAway) -> ResponseReturnValue:
    response = make_response(
        answer(503, "unavailable", "The store is away. Try again in a moment; what carries a key is stored only once.")
    )
    logs.note(store=str(error).partition("\n")[0])
    response.headers["Retry-After"] = "1"
    return response


def of_framing(_error: ParseException) -> ResponseReturnValue:
    """Gunicorn reads the body while we do, so that a chunk that is none is met in the middle of a view."""
    return answer(400, "bad_request", "The body is not framed as HTTP says.")


def of_size(_error: RequestEntityTooLarge) -> ResponseReturnValue:
    return answer(413, "request_entity_too_large", f"The body must have at most {request.max_content_length:,} bytes.")


def of_http(error: HTTPException) -> ResponseReturnValue:
    status = error.code or 500
    code = error.name.lower().replace(" ", "_")
    response = make_response(answer(status, code, error.description or error.name))
    response.headers.extend(header for header in error.get_headers() if header[0] != "Content-Type")  # Allow, for one
    return response


def answer(
    status: int, code: str, message: str, details: Mapping[str, Any] = NOTHING, more: Mapping[str, Any] = NOTHING
) -> ResponseReturnValue:
    """`details` stand in the error, `more` beside it."""
    logs.note(why=code)
    if wants_page():
        title = TITLES.get(status, "That did not work")
        return render_template("error.html", status=status, title=title, message=message), status
    return jsonify(error={"code": code, "message": message, **details}, **more), status


def wants_page() -> bool:
    """A person in a browser: on a page's path, or lost on one that is nobody's."""
    if request.endpoint not in (*PAGES, None) or request.is_json:
        return False
    return request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"
