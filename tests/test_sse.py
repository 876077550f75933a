"""The tests' own client against the examples of the HTML Living Standard, section 9.2."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sse import Event, EventStream, parse

# The examples of 9.2.6 (stocks, comments and ids, empty data, the space behind the colon), then single rules.
STANDARD = [
    (b"data: YHOO\ndata: +2\ndata: 10\n\n", [Event("", "message", "YHOO\n+2\n10")]),
    (
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
        [
            Event("1", "message", "first event"),
            Event("", "message", "second event"),
            Event("", "message", " third event"),
        ],
    ),
    (b"data\n\ndata\ndata\n\ndata:", [Event("", "message", ""), Event("", "message", "\n")]),
    (b"data:test\n\ndata: test\n\n", [Event("", "message", "test"), Event("", "message", "test")]),
    (b"event: add\ndata: 73857293\n\n", [Event("", "add", "73857293")]),
    (
        b"data: a\r\rdata: b\r\n\r\ndata: c\n\n",
        [Event("", "message", "a"), Event("", "message", "b"), Event("", "message", "c")],
    ),
    (b"\xef\xbb\xbfdata: a\n\n", [Event("", "message", "a")]),
    (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
    (b"event: lost\n\ndata: a\n\n", [Event("", "message", "a")]),
    (b"id: 7\n\ndata: a\n\n", [Event("7", "message", "a")]),
    (b"id: 7\nid: 8\x009\ndata: a\n\n", [Event("7", "message", "a")]),
    (
        b"retry: 10\ndata: a\n\nretry: 1x\ndata: b\n\n",
        [Event("", "message", "a", 10), Event("", "message", "b")],
    ),
    (b"Data: a\n data: b\nother: c\n\n", []),
    (b"data: \xff\n\n", [Event("", "message", "\ufffd")]),
    (b"data: a\xc2\x85b\xe2\x80\xa8c\x0bd\n\n", [Event("", "message", "a\x85b\u2028c\x0bd")]),
    (b"data: unfinished\n", []),
]


@pytest.mark.parametrize(("stream", "events"), STANDARD)
def test_it_reads_as_the_standard_says(stream: bytes, events: list[Event]) -> None:
    assert parse(stream) == events


@given(st.lists(st.sampled_from([stream for stream, _ in STANDARD])).map(b"".join), st.data())
def test_cuts_change_nothing(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    reader = EventStream()
    assert [event for piece in pieces for event in reader.feed(piece)] == parse(stream)


def test_it_knows_what_a_reconnecting_client_would_send() -> None:
    reader = EventStream("a.1")
    reader.feed(b"retry: 2000\ndata: x\nid: a.2\n\ndata: y\nid: a.3\n")
    assert (reader.last_event_id, reader.retry) == ("a.2", 2000)
