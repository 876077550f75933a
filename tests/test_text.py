"""What may be stored: JSON and text that every database, parser and page gives back as it was (S18, S19)."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.errors import Invalid
from chat.text import JSON_DEPTH, check_length, convert, parse_json, storable


def lists(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def objects(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


@pytest.mark.parametrize("nested", [lists, objects])
@pytest.mark.parametrize(("depth", "fits"), [(1, True), (JSON_DEPTH, True), (JSON_DEPTH + 1, False), (999, False)])
def test_json_may_be_thirty_two_levels_deep(nested: Any, depth: int, fits: bool) -> None:
    if fits:
        parse_json(nested(depth))
    else:
        with pytest.raises(Invalid, match="32 levels"):
            parse_json(nested(depth))


def test_lists_and_objects_count_together() -> None:
    parse_json(b'[{"a":' * 16 + b"1" + b"}]" * 16)
    with pytest.raises(Invalid, match="32 levels"):
        parse_json(b'[{"a":' * 16 + b"[]" + b"}]" * 16)


@pytest.mark.parametrize("body", [lists(100_000), objects(100_000), b"[" * 100_000, b'{"a":' * 100_000])
def test_a_hundred_thousand_levels_are_refused_like_thirty_three(body: bytes) -> None:
    """The standard parser raises RecursionError."""
    with pytest.raises(Invalid) as refusal:
        parse_json(body)
    assert refusal.value.code == "too_deep"


# What parsers disagree on (seriot.ch/projects/parsing_json.html): read by one, refused by the next.
@pytest.mark.parametrize(
    "body",
    [
        *(b"", b" ", b"\x00", b"{", b"[1,]", b'{"a":1,}', b"{'a':1}", b"{a:1}", b"[1]x", b"[1][2]", b"//", b"[1]/**/"),
        *(b"NaN", b"Infinity", b"-Infinity", b"[NaN]", b"nan", b"1e400", b"+1", b"01", b".5", b"1.", b"0x1", b"1_0"),
        *(
            b'"\n"',
            b'"\t"',
            b'"\x00"',
            b'"\\x41"',
            b'"\\u12"',
            b'"\xff"',
            b'"\xc0\x80"',
            b'"\xed\xa0\x80"',
            b"\xff\xfe[\x00",
        ),
        *(b'"\\ud800"', b'"\\udfff"', b'"\\ud800x"', b'["\\ud83d", "\\ude00"]', b'{"\\ud800":1}'),
        b"\xef\xbb\xbf{}",
    ],
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid) as refusal:
        parse_json(body)
    assert (refusal.value.code, refusal.value.status) == ("bad_json", 400)


def test_half_a_character_is_called_that() -> None:
    with pytest.raises(Invalid, match="holds half of a character"):
        parse_json(b'{"text": "ok \\ud83d"}', "line 2")


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b' {"a": [1, 2.5, true, null]}\n', {"a": [1, 2.5, True, None]}),
        (b'"\\ud83d\\ude00"', "😀"),
        (b'{"a":1,"a":2}', {"a": 2}),
        (b"[]", []),
        (b"null", None),
    ],
)
def test_what_is_json_is_read(body: bytes, value: Any) -> None:
    assert parse_json(body) == value


@given(st.binary(max_size=50))
def test_whatever_is_sent_is_read_as_the_standard_parser_does_or_refused(body: bytes) -> None:
    try:
        value = parse_json(body)
    except Invalid:
        return
    assert value == json.loads(body)


class Inner(msgspec.Struct):
    text: str


class Outer(msgspec.Struct):
    inner: Inner
    many: list[Inner] = []


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (None, None),
        ([], None),
        ({}, "inner"),
        ({"inner": 1}, "inner"),
        ({"inner": {}}, "inner.text"),
        ({"inner": {"text": 1}}, "inner.text"),
        ({"inner": {"text": "x"}, "many": {}}, "many"),
        ({"inner": {"text": "x"}, "many": [{"text": "x"}, {}]}, "many[1].text"),
    ],
)
def test_a_value_of_another_shape_is_refused_and_the_field_named(value: Any, field: str | None) -> None:
    with pytest.raises(Invalid) as refusal:
        convert(value, Outer)
    assert refusal.value.field == field
    assert refusal.value.message
    assert "$" not in refusal.value.message


@pytest.mark.parametrize(
    "value", ["\0", "a\0b", ["\0"], {"a": "\0"}, {"\0": 1}, {"a": [{"b": ["\0"]}]}, ["\\u0000", "\0"], "\\\\u0000\0"]
)
def test_nul_is_refused_wherever_it_hides(value: Any) -> None:
    with pytest.raises(Invalid) as refusal:
        storable(value, "here")
    assert (refusal.value.code, refusal.value.field) == ("nul", "here")


@pytest.mark.parametrize(
    "value", [None, "", "\\u0000", {"\\u0000": ["\\u0000"]}, "\x01\x7f\x85\u2028", "😀", {}, [[], {}]]
)
def test_everything_else_is_given_back_as_it_is(value: Any) -> None:
    assert storable(value, "here") is value


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_any_text_without_nul_is_storable(text: str) -> None:
    assert storable(text, "here") == text


@pytest.mark.parametrize(
    ("text", "limit", "unit", "fits"),
    [
        ("x" * 10, 10, "characters", True),
        ("x" * 11, 10, "characters", False),
        ("😀" * 10, 10, "characters", True),
        ("😀" * 3, 10, "bytes", False),
        ("x" * 10, 10, "bytes", True),
    ],
)
def test_lengths_are_counted_in_their_own_unit(text: str, limit: int, unit: str, fits: bool) -> None:
    if fits:
        assert check_length(text, limit, "here", unit) == text
    else:
        with pytest.raises(Invalid, match=f"at most {limit} {unit}"):
            check_length(text, limit, "here", unit)
