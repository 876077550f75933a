"""Reading what a request says: JSON bodies and query parameters, checked at the border."""

from __future__ import annotations

from typing import TypeVar

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge

from chat.errors import Invalid
from chat.text import convert, parse_json

T = TypeVar("T")


def json_body(shape: type[T], nothing: object = None) -> T:
    """The body as a msgspec Struct; `nothing` stands for an empty one. Raises Invalid that names the field."""
    body = whole_body()
    return convert(parse_json(body) if body or nothing is None else nothing, shape)


def whole_body() -> bytes:
    """The raw bytes. Raises RequestEntityTooLarge."""
    body = request.get_data(cache=False)
    # Without Content-Length werkzeug cuts the body off at the limit and says nothing (LimitedStream.readall).
    if request.content_length is None and len(body) >= (request.max_content_length or float("inf")):
        raise RequestEntityTooLarge
    return body


def query_int(name: str, least: int = 0, most: int = 10**15) -> int | None:
    """A whole number from the query; None if it is absent. Raises Invalid if it is none or out of range."""
    text = request.args.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 17 and least <= int(text) <= most):
        raise Invalid("invalid", f"the parameter {name} must be a whole number from {least} to {most}", name)
    return int(text)
