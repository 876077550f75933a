"""What may be stored: text and JSON that every database, parser and page gives back byte for byte."""

from __future__ import annotations

import re
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from chat.errors import Invalid

PERSON_TEXT = 32_000  # characters
AGENT_TEXT = 256 * 1024  # bytes of UTF-8
NAME = 255  # characters
JSON_DEPTH = 32

T = TypeVar("T")
WHERE = re.compile(r"(.*) - at `\$\.?(.*)`")  # how msgspec says what was wrong and where

# A whole pair stays, so does a backslash that is one itself; what is left of \\uD800 to \\uDFFF stands alone.
SURROGATE = re.compile(
    rb"(\\\\|\\u[dD][89abAB]HH\\u[dD][c-fC-F]HH)|\\u[dD][89a-fA-F]HH".replace(b"HH", b"[0-9a-fA-F]{2}")
)


def parse_json(body: bytes, field: str | None = None) -> Any:
    """Decode a request's JSON, or that of its `field`. Raises Invalid if it is none, or too deep (JSON_DEPTH)."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError) as error:
        what = field or "the body"
        if any(found[1] is None for found in SURROGATE.finditer(body)):
            message = f"{what} holds half of a character (a lone surrogate, as \\ud83d is); send whole characters"
            raise Invalid("bad_json", message, field) from None
        raise Invalid("bad_json", f"{what} must be JSON in UTF-8: {error}", field) from None
    except RecursionError:
        raise too_deep() from None
    check_depth(value)
    return value


def convert(value: Any, shape: type[T]) -> T:
    """Read decoded JSON as a msgspec Struct. Raises Invalid that names the field."""
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        said = WHERE.fullmatch(str(error))
        what, field = (said[1], said[2] or None) if said else (str(error), None)
        missing = re.fullmatch(r"Object missing required field `(\w+)`", what)
        if missing:
            field = f"{field}.{missing[1]}" if field else missing[1]
        if "enum" in what and (choices := choices_of(shape, field)):
            what = f"it must be one of {', '.join(map(str, choices))}"
        raise Invalid("invalid", what, field) from None


def choices_of(shape: Any, field: str | None) -> tuple[Any, ...]:
    """What msgspec keeps to itself: the values that a field of a Literal takes."""
    for name in (field or "").split("."):
        shape = get_type_hints(shape).get(name) if isinstance(shape, type) else None
        shape = next((part for part in get_args(shape) if part is not type(None)), shape) if is_union(shape) else shape
    return get_args(shape) if get_origin(shape) is Literal else ()


def is_union(shape: Any) -> bool:
    return get_origin(shape) in (Union, UnionType)


def check_depth(value: Any) -> None:
    level = [value]
    for _ in range(JSON_DEPTH):
        level = [child for node in level for child in children(node)]
        if not any(isinstance(node, dict | list) for node in level):
            return
    raise too_deep()


def children(node: Any) -> list[Any]:
    if isinstance(node, dict):
        return list(node.values())
    return node if isinstance(node, list) else []


def too_deep() -> Invalid:
    return Invalid("too_deep", f"the JSON must not be nested deeper than {JSON_DEPTH} levels")


def storable(value: Any, field: str) -> Any:
    """Return `value` if it has no NUL, which PostgreSQL cannot store; raise Invalid otherwise."""
    if b"\\u0000" in msgspec.json.encode(value):
        find_nul(value, field)
    return value


def find_nul(value: Any, field: str) -> None:
    """Look again, exactly: a backslash followed by the letters u0000 is harmless."""
    if isinstance(value, str) and "\x00" in value:
        raise Invalid("nul", "the text must not hold U+0000", field)
    keys = list(value) if isinstance(value, dict) else []
    for child in [*keys, *children(value)]:
        find_nul(child, field)


def check_name(text: str, whose: str) -> str:
    """A name without the blanks around it. Raises Invalid if nothing is left, or what nobody could type again."""
    name = text.strip()
    if not (0 < len(name) <= NAME and name.isprintable()):
        raise Invalid("name", f"the name of {whose} must be 1 to {NAME} printable characters", "name")
    return name


def check_length(text: str, limit: int, field: str, unit: str = "characters") -> str:
    length = len(text) if unit == "characters" else len(text.encode())
    if length > limit:
        raise Invalid("too_long", f"this must have at most {limit:,} {unit}, not {length:,}", field)
    return text
