"""Cursors: strict reading, one spelling for each position."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.cursor import Cursor
from realtime.frames import frame
from tests.sse import parse

EPOCHS = st.from_regex(r"[A-Za-z0-9]{1,16}", fullmatch=True)
SEQS = st.integers(min_value=0, max_value=10**15 - 1)


@pytest.mark.parametrize(
    ("text", "cursor"),
    [
        ("a.0", Cursor("a", 0)),
        ("Zz09.1", Cursor("Zz09", 1)),
        ("x" * 16 + ".999999999999999", Cursor("x" * 16, 999_999_999_999_999)),
    ],
)
def test_a_well_formed_cursor_is_read(text: str, cursor: Cursor) -> None:
    assert Cursor.parse(text) == cursor


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "a", "a.", ".1", "1", "a.b", "a.1.2", "a..1", "a-1"),
        *("a.01", "a.00", "a.-1", "a.+1", "a.1_000", "a.1e3", "a.0x1", "a.1.0"),
        *(" a.1", "a.1 ", "a .1", "a.1\n", "a.1\r\n", "a.1\0", "a.1,a.2"),
        *("x" * 17 + ".1", "a." + "1" * 16, "a." + "9" * 9_000),
        # str.isdigit() and int() would take these two for 3.
        *("a.٣", "a.³", "é.1", "a.1\u2028", "a\udc80.1"),
    ],
)
def test_a_malformed_cursor_is_none(text: str) -> None:
    assert Cursor.parse(text) is None


@given(EPOCHS, SEQS)
def test_a_cursor_comes_back_as_it_was_written(epoch: str, seq: int) -> None:
    assert Cursor.parse(str(Cursor(epoch, seq))) == Cursor(epoch, seq)


@given(st.text())
def test_a_position_has_one_spelling(text: str) -> None:
    cursor = Cursor.parse(text)
    assert cursor is None or str(cursor) == text


@given(EPOCHS, SEQS)
def test_every_cursor_travels_as_an_event_id(epoch: str, seq: int) -> None:
    cursor = Cursor(epoch, seq)
    [event] = parse(frame("ping", {}, id=str(cursor)))
    assert Cursor.parse(event.id) == cursor


def test_a_cursor_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Cursor("a", 1).seq = 2  # type: ignore[misc]
