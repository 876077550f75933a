"""What may be stored: text and JSON that every database, parser and page gives back byte for byte."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from chat.errors import Invalid

PERSON_TEXT = 32_000  # characters
AGENT_TEXT = 256 * 1024  # bytes of UTF-8
NAME = 255  # characters
JSON_DEPTH = 32

T = TypeVar("T")
WHERE = re.compile(r"(.*) - at `\$\.?(.*)`")  # how msgspec says what was wrong and where


def parse_json(body: bytes) -> Any:
    """Decode a request's JSON. Raises Invalid if it is none, or nested deeper than JSON_DEPTH."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Invalid("bad_json", f"the body must be JSON in UTF-8: {error}") from None
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
        raise Invalid("invalid", what, field) from None


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
