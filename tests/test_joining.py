"""Where a stream begins: exactly behind its cursor, or anew, which is told in the stream (DESIGN 5 and 7)."""

from collections.abc import Iterator

import gevent
import pytest
from gevent import Greenlet
from gevent.event import Event as Flag

from realtime.hub import Hub
from realtime.stream import FARTHEST
from tests.books import LOG, Book, Watcher, hub_on, ring
from tests.until import until


@pytest.fixture
def book() -> Book:
    book = Book()
    book.write(5)
    return book


@pytest.fixture
def hub(book: Book) -> Iterator[Hub]:
    hub = hub_on(book)
    yield hub
    hub.drain()


def test_ready_comes_first_and_names_cursor_head_and_rhythm(hub: Hub) -> None:
    watcher = Watcher(hub, "e1.3")
    ready = watcher.wait_for("ready")
    assert watcher.names[0] == "ready"
    assert (ready.id, ready.json) == ("e1.3", {"head": "e1.5", "ping": 15.0, "conn": "c1"})


def test_nobody_waits_for_ever_for_a_confirmation_that_has_come(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """One gives up in the very turn of the loop in which the confirmation comes and another joins."""
    confirmed = Flag()
    monkeypatch.setattr(hub.bus, "listen", lambda log: confirmed)
    impatient, late = gevent.spawn(hub._join, LOG), Greenlet(hub._join, LOG)
    gevent.sleep(0)
    gevent.get_hub().loop.run_callback(confirmed.set)
    late.start()
    impatient.kill(block=False)
    assert late.get(timeout=5).cursor.seq == 5


def test_without_a_cursor_a_stream_begins_at_the_head(hub: Hub, book: Book) -> None:
    watcher = Watcher(hub)
    assert watcher.wait_for("ready").id == "e1.5"
    ring(hub, book.write())
    until(lambda: watcher.seqs() == [6])


@pytest.mark.parametrize("seq", range(6))
def test_a_stream_goes_on_exactly_behind_its_cursor(hub: Hub, seq: int) -> None:
    """P3, at every cut."""
    watcher = Watcher(hub, f"e1.{seq}")
    until(lambda: watcher.seqs() == list(range(seq + 1, 6)))
    watcher.wait_for("ready")
    assert watcher.names == ["ready"] + ["message"] * (5 - seq)


def test_every_event_carries_its_own_seq_as_id(hub: Hub) -> None:
    watcher = Watcher(hub, "e1.0")
    until(lambda: len(watcher.seqs()) == 5)
    assert [(frame.id, frame.json["seq"]) for frame in watcher.frames[1:]] == [(f"e1.{n}", n) for n in range(1, 6)]


@pytest.mark.parametrize(
    ("cursor", "reason"),
    [
        *(("e2.3", "epoch"), ("e1.6", "future"), ("e1.999999999999999", "future")),
        *((text, "malformed") for text in ("e1", "e1.", "e1.-1", "e1.3 ", "3", "*", "e1.3,e1.4", "0-0", "x" * 9000)),
    ],
)
def test_a_cursor_that_cannot_be_continued_is_reset_in_band(hub: Hub, book: Book, cursor: str, reason: str) -> None:
    """S27, R29."""
    watcher = Watcher(hub, cursor)
    ready, reset = watcher.wait_for("ready"), watcher.wait_for("reset")
    assert reset.json == {"reason": reason, "head": "e1.5"}
    assert watcher.names == ["ready", "reset"]
    assert ready.json["head"] == "e1.5"
    ring(hub, book.write())
    until(lambda: watcher.seqs() == [6])


def test_one_who_is_cut_off_right_after_a_reset_is_reset_again(hub: Hub) -> None:
    watcher = Watcher(hub, "e2.3")
    reset = watcher.wait_for("reset")
    assert watcher.frames[0].id == "e2.3", "`ready` brings no cursor: it is still the client's own"
    again = Watcher(hub, reset.id)
    again.wait_for("reset")


def test_a_cursor_whose_events_are_pruned_is_reset(hub: Hub, book: Book) -> None:
    book.floor = 3
    assert Watcher(hub, "e1.2").wait_for("reset").json["reason"] == "pruned"
    kept = Watcher(hub, "e1.3")
    until(lambda: kept.seqs() == [4, 5])


@pytest.mark.parametrize(("behind", "names"), [(FARTHEST, "message"), (FARTHEST + 1, "reset")])
def test_a_reader_may_be_ten_thousand_events_behind_and_no_more(behind: int, names: str) -> None:
    book = Book()
    book.write(behind)
    watcher = Watcher(hub_on(book), "e1.0")
    until(lambda: len(watcher.frames) >= 2)
    assert watcher.frames[1].event == names
    if names == "reset":
        assert watcher.frames[1].json["reason"] == "too_far"
    watcher.leave()


def test_a_stream_that_cannot_begin_says_when_to_come_back(
    hub: Hub, book: Book, caplog: pytest.LogCaptureFixture
) -> None:
    book.trouble = OSError("the store is away")
    for cursor, id in (("e1.2", "e1.2"), (None, ""), ("nonsense", "nonsense")):
        watcher = Watcher(hub, cursor)
        until(lambda watcher=watcher: watcher.is_over)
        assert [(frame.event, frame.id) for frame in watcher.frames] == [("bye", id)]
    assert "broke off" in caplog.text
