"""An entry of a log on its way: framed once, however many read it."""

import msgspec
import pytest

from realtime.event import Event
from realtime.frames import FrameError, frame
from realtime.stream import Stream
from tests.books import LOG, Book, hub_on, ring


@pytest.mark.parametrize("data", ['{"seq":7}', '{"text":"\u2028 \u2029 \x85 \N{GRINNING FACE}"}', "null"])
def test_an_event_is_framed_like_anything_else_with_its_place_as_id(data: str) -> None:
    event = Event(7, "message", "t1", msgspec.Raw(data.encode()))
    assert event.framed("e1") == frame("message", msgspec.Raw(data.encode()), "e1.7")
    assert event.framed("e1") is event.framed("e1")


def test_what_cannot_be_framed_is_not_kept_as_if_it_were() -> None:
    event = Event(7, "message", "t1", msgspec.Raw(b"{\n}"))
    for _ in range(2):
        with pytest.raises(FrameError):
            event.framed("e1")


def test_many_streams_send_the_same_bytes() -> None:
    """Of a thousand open pages each would else cost its own encoding of the same words."""
    book = Book()
    hub = hub_on(book)
    streams = [Stream(hub, LOG, f"session:{number}", "e1.0", lambda event: True, f"c{number}") for number in range(5)]
    served = [stream.serve() for stream in streams]
    assert all(next(frames).startswith(b"event: ready\n") for frames in served)
    event = book.write()
    ring(hub, event)
    sent = [next(frames) for frames in served]
    assert sent[0] == frame("message", event.data, "e1.1")
    assert all(block is sent[0] for block in sent)
    for frames in served:
        frames.close()
