"""The encoder against the grammar of the HTML Living Standard, section 9.2.5, and against three readers."""

import json
import re
from collections.abc import Callable

import httpx2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.frames import FrameError, frame
from tests.sse import Event, parse

# The part of the ABNF of 9.2.5 that we use: no BOM, no comment, LF as the only end-of-line, data in one line.
BLOCK = re.compile(
    rb"event: [a-z_.]{1,32}\n"
    rb"(?:retry: [1-9][0-9]*\n)?"
    rb"data: [^\r\n\0]+\n"
    rb"(?:id: [A-Za-z0-9._-]{1,64}\n)?"
    rb"\n"
)

# What breaks lines for somebody: the standard's CR, LF and CRLF, and all that str.splitlines() adds.
LINE_ENDS = ["\r", "\n", "\r\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]
HOSTILE = [
    "\0",
    "\ufeff",
    ":",
    "data: x",
    "\n\nevent: bye\ndata: {}\n\n",
    "\\u2028",
    '"',
    "\\",
    "😀",
    "\x7f",
    " ",
    "",
]

TEXTS = st.text() | st.lists(st.sampled_from(LINE_ENDS + HOSTILE) | st.text(max_size=3)).map("".join)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=10,
)
NAMES = st.from_regex(r"[a-z_.]{1,32}", fullmatch=True).filter(lambda name: name not in ("error", "open"))
IDS = st.none() | st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True)
RETRIES = st.none() | st.integers(1, 10**9)


def read_by_httpx2(stream: bytes) -> list[Event]:
    """A package's parser, and no relation of ours."""
    response = httpx2.Response(
        200,
        content=stream,
        headers={"content-type": "text/event-stream"},
        request=httpx2.Request("GET", "http://localhost/stream"),
    )
    return [Event(e.id, e.event, e.data, e.retry) for e in httpx2.EventSource(response)]


def read_by_splitlines(stream: bytes) -> list[Event]:
    """The commonest mistake in Python clients: every line end of Unicode ends a field."""
    events = []
    for block in stream.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        retry = int(fields["retry"]) if "retry" in fields else None
        events.append(Event(fields.get("id", ""), fields["event"], fields["data"], retry))
    return events


READERS = [parse, read_by_httpx2, read_by_splitlines]


@pytest.mark.parametrize(
    ("arguments", "block"),
    [
        ({"event": "message", "data": {"a": 1}}, b'event: message\ndata: {"a":1}\n\n'),
        ({"event": "ping", "data": None, "id": "a.1"}, b"event: ping\ndata: null\nid: a.1\n\n"),
        (
            {"event": "bye", "data": {"reason": "drain"}, "id": "a.1", "retry": 2500},
            b'event: bye\nretry: 2500\ndata: {"reason":"drain"}\nid: a.1\n\n',
        ),
        ({"event": "follow_up_questions", "data": []}, b"event: follow_up_questions\ndata: []\n\n"),
        ({"event": "a.b", "data": ""}, b'event: a.b\ndata: ""\n\n'),
        (
            {"event": "message", "data": "\x85\u2028\u2029"},
            b'event: message\ndata: "\\u0085\\u2028\\u2029"\n\n',
        ),
        ({"event": "message", "data": "\r\n\0"}, b'event: message\ndata: "\\r\\n\\u0000"\n\n'),
        (
            {"event": "message", "data": "\ufeff😀"},
            b'event: message\ndata: "\xef\xbb\xbf\xf0\x9f\x98\x80"\n\n',
        ),
        ({"event": "message", "data": msgspec.Raw(b'{"a": 1}')}, b'event: message\ndata: {"a": 1}\n\n'),
    ],
)
def test_a_frame_is_written_like_this(arguments: dict, block: bytes) -> None:
    assert frame(**arguments) == block


@pytest.mark.parametrize("name", ["error", "open", "", "Message", "a b", "a-b", "a1", "é", "x" * 33])
@pytest.mark.parametrize("end", ["", "\r", "\n", "\0", "\u2028"])
def test_an_event_name_that_would_be_misread_is_refused(name: str, end: str) -> None:
    with pytest.raises(FrameError):
        frame(name + end, {})


@pytest.mark.parametrize(
    "id",
    ["", " ", "a b", "a:1", "ü", "٣", "x" * 65, "a.1\n", "a.1\r", "a.1\0", "a\n\nevent: bye", "a.1\u2028"],
)
def test_an_id_that_would_be_misread_is_refused(id: str) -> None:
    with pytest.raises(FrameError):
        frame("message", {}, id=id)


@pytest.mark.parametrize("event", [f"message{end}x" for end in ("\r", "\n", "\0")])
def test_nothing_can_be_smuggled_in_through_an_event_name(event: str) -> None:
    with pytest.raises(FrameError):
        frame(event, {})


@pytest.mark.parametrize("retry", [0, -1])
def test_a_retry_that_makes_browsers_hammer_is_refused(retry: int) -> None:
    with pytest.raises(FrameError):
        frame("bye", {}, retry=retry)


@pytest.mark.parametrize("data", ["\ud800", {"a": ["\udfff"]}, msgspec.Raw(b'{"a":\n1}'), msgspec.Raw(b"[1,\r2]")])
def test_data_that_does_not_fit_one_line_of_utf8_is_refused(data: object) -> None:
    with pytest.raises(FrameError):
        frame("message", data)


def test_a_refusal_is_a_value_error_of_its_own() -> None:
    assert issubclass(FrameError, ValueError)
    assert FrameError is not ValueError


@given(NAMES, JSON, IDS, RETRIES)
def test_every_frame_is_one_block_of_our_grammar(event: str, data: object, id: str | None, retry: int | None) -> None:
    assert BLOCK.fullmatch(frame(event, data, id, retry))


@pytest.mark.parametrize("read", READERS)
@given(NAMES, JSON, IDS, RETRIES)
def test_every_reader_gets_what_was_sent(
    read: Callable[[bytes], list[Event]], event: str, data: object, id: str | None, retry: int | None
) -> None:
    [got] = read(frame(event, data, id, retry))
    assert (got.event, got.id, got.retry) == (event, id or "", retry)
    assert json.loads(got.data) == data


@pytest.mark.parametrize("read", READERS)
@given(st.lists(JSON, max_size=5))
def test_frames_in_a_row_stay_apart(read: Callable[[bytes], list[Event]], items: list) -> None:
    stream = b"".join(frame("message", data, f"a.{n}") for n, data in enumerate(items))
    assert [(e.id, json.loads(e.data)) for e in read(stream)] == [(f"a.{n}", data) for n, data in enumerate(items)]


@given(NAMES, JSON, IDS)
def test_a_frame_cut_short_says_nothing(event: str, data: object, id: str | None) -> None:
    block = frame(event, data, id)
    assert not any(parse(block[:cut]) for cut in range(len(block)))


@pytest.mark.parametrize("character", LINE_ENDS)
def test_no_line_end_of_any_language_reaches_the_wire(character: str) -> None:
    block = frame("message", {character: [character]})
    assert len(block.decode().splitlines()) == block.count(b"\n") == 3
