"""One open connection: what it is sent, and how it ends (DESIGN 5 and 7)."""

from collections.abc import Iterator

import gevent
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.store import StoreAway
from realtime import stream as stream_module
from realtime.cursor import Cursor
from realtime.event import Event
from realtime.hub import Hub
from realtime.stream import PASSING, RETRY, STALE, Stream, bye
from realtime.tail import PAGE, RECENT
from tests import sse
from tests.books import LOG, Book, Watcher, happening, hub_on, ring
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


def test_events_that_the_filter_hides_move_the_cursor_on(hub: Hub, book: Book) -> None:
    watcher = Watcher(hub, "e1.0", shows=lambda event: event.thread_id == "t2")
    ring(hub, book.write(3))
    ring(hub, book.write(1, thread_id="t2"))
    until(lambda: watcher.seqs() == [9])
    assert (watcher.frames[-1].id, watcher.stream.pos) == ("e1.9", 9)


def test_a_reader_who_falls_behind_what_is_kept_is_served_from_the_store(hub: Hub, book: Book) -> None:
    watcher = Watcher(hub, "e1.5")
    watcher.may_read.clear()
    watcher.wait_for("ready")
    for _ in range(RECENT + PAGE):
        ring(hub, book.write())
    assert book.reads == 0
    watcher.may_read.set()
    until(lambda: watcher.seqs() == list(range(6, 6 + RECENT + PAGE)))
    assert book.reads > 0


def test_a_log_that_begins_anew_is_told_to_its_readers(hub: Hub, book: Book) -> None:
    watcher = Watcher(hub, "e1.3")
    until(lambda: watcher.seqs() == [4, 5])
    book.begin_anew("e2", 1)
    hub._check_heads()
    assert watcher.wait_for("reset").json == {"reason": "epoch", "head": "e2.1"}
    ring(hub, book.write(), "e2")
    until(lambda: watcher.seqs() == [4, 5, 2])


def test_after_a_reset_every_frame_carries_a_cursor_that_will_be_reset_again(
    hub: Hub, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that ignored the reset, or was cut before it had read everything anew, is told again."""
    monkeypatch.setattr(stream_module, "PING", 0.05)
    watcher = Watcher(hub, "e9.3")
    watcher.wait_for("reset")
    ring(hub, book.write())
    watcher.wait_for("ping")
    until(lambda: watcher.seqs() == [6])
    hub.kick("session:alice")
    until(lambda: watcher.is_over)
    assert watcher.names[0] == "ready"
    assert {frame.id for frame in watcher.frames[1:]} == {str(STALE)}
    assert {"reset", "message", "ping", "bye"} <= set(watcher.names)
    again = Watcher(hub, str(STALE))
    assert again.wait_for("reset").json == {"reason": "epoch", "head": "e1.6"}


def test_a_log_whose_missing_events_are_pruned_is_told_to_its_readers_at_the_next_look(hub: Hub, book: Book) -> None:
    """Nobody rang, and what they missed is there no more: waiting for it would be waiting for ever."""
    watcher = Watcher(hub, "e1.5")
    watcher.wait_for("ready")
    book.write(5)
    book.floor = 8
    hub._check_heads()
    assert watcher.wait_for("reset").json == {"reason": "pruned", "head": "e1.10"}
    ring(hub, book.write())
    until(lambda: watcher.seqs() == [11])


def test_a_log_that_begins_anew_during_a_replay_is_not_mixed_with_the_old_one(hub: Hub, book: Book) -> None:
    book.may_answer.clear()
    watcher = Watcher(hub, "e1.0")
    book.asked.wait()
    book.begin_anew("e2", 3)
    hub._check_heads()
    book.may_answer.set()
    assert watcher.wait_for("reset").json == {"reason": "epoch", "head": "e2.3"}
    assert watcher.seqs() == []


def test_the_rest_of_a_page_is_not_sent_once_the_log_has_begun_anew(
    hub: Hub, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "WRITE", 1)
    watcher = Watcher(hub, "e1.0")
    watcher.may_read.clear()
    until(lambda: watcher.names == ["ready"])
    watcher.may_read.set()
    watcher.may_read.clear()
    until(lambda: watcher.seqs() == [1])
    book.begin_anew("e2", 3)
    hub._check_heads()
    watcher.may_read.set()
    watcher.wait_for("reset")
    assert watcher.seqs() == [1]


def test_a_page_of_another_life_is_not_taken_for_the_readers_own(hub: Hub, book: Book) -> None:
    """The log begins anew, and a reader looks into the store before any tick has told so."""
    watcher = Watcher(hub, "e1.0")
    watcher.may_read.clear()
    watcher.wait_for("ready")
    book.begin_anew("e2", 7)
    watcher.may_read.set()
    watcher.wait_for("reset")
    assert watcher.seqs() == []


def test_a_stream_at_rest_does_nothing(hub: Hub, book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    pump = Stream.pump
    monkeypatch.setattr(Stream, "pump", lambda stream: (looks.append(1), pump(stream))[1])
    watcher = Watcher(hub, "e1.0")
    until(lambda: len(watcher.seqs()) == 5)
    ring(hub, book.write())
    until(lambda: len(watcher.seqs()) == 6)
    before = len(looks)
    for _ in range(100):
        gevent.sleep(0)
    assert len(looks) - before <= 1


@pytest.mark.parametrize(("end", "reason"), [("kick", "auth"), ("drain", "drain")])
def test_a_stream_that_we_end_says_bye_with_its_cursor_and_when_to_come_back(hub: Hub, end: str, reason: str) -> None:
    watcher = Watcher(hub, "e1.3")
    until(lambda: watcher.seqs() == [4, 5])
    hub.kick("session:alice") if end == "kick" else hub.drain()
    until(lambda: watcher.is_over)
    last = watcher.frames[-1]
    assert (last.event, last.id, last.json["reason"]) == ("bye", "e1.5", reason)
    assert last.retry == last.json["retry_ms"]
    assert RETRY[0] <= last.retry <= RETRY[1]
    assert hub.streams == set()


def test_a_kick_ends_the_streams_of_its_grant_alone(hub: Hub) -> None:
    alice, bob = Watcher(hub), Watcher(hub, grant="session:bob")
    until(lambda: alice.frames and bob.frames)
    hub.kick("session:alice")
    until(lambda: alice.is_over)
    assert hub.streams == {bob.stream}


def test_a_reader_who_has_gone_is_told_nothing(hub: Hub) -> None:
    watcher = Watcher(hub)
    watcher.wait_for("ready")
    assert [frame.event for frame in watcher.leave()] == ["ready"]
    assert hub.streams == set()


def test_a_stream_is_rotated_after_its_lifetime(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "LIFETIME", (0.0, 0.0))
    watcher = Watcher(hub, "e1.4")
    until(lambda: watcher.is_over)
    assert (watcher.names, watcher.frames[-1].json["reason"]) == (["ready", "message", "bye"], "rotate")


def test_pings_carry_the_streams_own_cursor_and_the_head_that_was_heard_of(
    hub: Hub, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "PING", 0.01)
    watcher = Watcher(hub, "e1.5")
    watcher.wait_for("ping")
    book.may_answer.clear()
    ring(hub, book.write(2))  # the first of them was lost, and the store takes its time
    ping = until(lambda: watcher.frames[-1].json["head"] == "e1.7" and watcher.frames[-1])
    assert (ping.event, ping.id) == ("ping", "e1.5")
    book.may_answer.set()
    until(lambda: watcher.seqs() == [6, 7])


def test_a_stream_that_breaks_off_says_how_far_it_came(hub: Hub, book: Book, caplog: pytest.LogCaptureFixture) -> None:
    """An older cursor in the `bye` would bring the reader back to events that it has."""
    watcher = Watcher(hub, "e1.2")
    until(lambda: watcher.seqs() == [3, 4, 5])
    watcher.may_read.clear()
    ring(hub, book.write())
    for _ in range(2 * RECENT):
        ring(hub, book.write())
    book.trouble = OSError("the store is away")
    watcher.may_read.set()
    until(lambda: watcher.is_over)
    assert "broke off" in caplog.text
    assert (watcher.names[-1], watcher.frames[-1].id) == ("bye", f"e1.{watcher.seqs()[-1]}")


@pytest.mark.parametrize("cursor", ["e1.2", None])
def test_a_store_that_is_away_in_the_middle_ends_a_stream_with_one_line_in_the_log(
    hub: Hub, book: Book, caplog: pytest.LogCaptureFixture, cursor: str | None
) -> None:
    """Of a thousand streams each says so: a traceback each would be the end of the log."""
    watcher = Watcher(hub, cursor)
    watcher.may_read.clear()
    watcher.wait_for("ready")
    for _ in range(RECENT + 1):  # what it has not read yet is no longer kept
        ring(hub, book.write())
    book.trouble = StoreAway("the store is busy")
    caplog.clear()
    watcher.may_read.set()
    until(lambda: watcher.is_over)
    last = watcher.frames[-1]
    assert (last.event, last.json["reason"], last.id) == ("bye", "limit", cursor or "e1.5")
    assert last.retry == last.json["retry_ms"]
    [line] = caplog.records
    assert (line.levelname, line.exc_info) == ("WARNING", None)
    assert "broke off: the store is busy" in line.getMessage()
    assert hub.streams == set()


def test_what_breaks_a_stream_by_a_mistake_of_ours_is_logged_whole(
    hub: Hub, book: Book, caplog: pytest.LogCaptureFixture
) -> None:
    book.trouble = ZeroDivisionError()
    watcher = Watcher(hub, "e1.2")
    until(lambda: watcher.is_over)
    assert (watcher.names[-1], watcher.frames[-1].id) == ("bye", "e1.2")
    assert "Traceback" in caplog.text


def test_a_bye_never_asks_to_come_back_at_once() -> None:
    assert all(frame.retry >= RETRY[0] for _ in range(100) for frame in sse.parse(bye("limit")))


def delta(size: int) -> Event:
    return Event(0, "delta", "t1", msgspec.Raw(msgspec.json.encode("x" * (size - 2))))


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ([100] * 1000, ["delta"] * 1000),
        ([PASSING // 2] * 2, ["delta"] * 2),
        ([2 * PASSING], ["delta"]),
        ([2 * PASSING, 100], ["partial"]),
        ([PASSING // 2, PASSING // 2, 100], ["partial"]),
        ([PASSING // 2] * 4, ["partial", "delta"]),
        ([PASSING // 2] * 100, ["partial", "delta"]),
    ],
)
def test_what_waits_for_a_slow_reader_is_weighed_and_in_place_of_too_much_it_is_told_the_whole(
    hub: Hub, sizes: list[int], told: list[str]
) -> None:
    hub.partials = lambda threads: [Event(0, "partial", "t1", msgspec.Raw(b"{}"))]
    watcher = Watcher(hub, "e1.5", focus=["t1"])
    watcher.wait_for("partial")
    watcher.may_read.clear()
    hub.bus.on_passing(LOG, delta(2))
    until(lambda: "delta" in watcher.names)
    before = len(watcher.frames)
    for size in sizes:
        hub.bus.on_passing(LOG, delta(size))
    watcher.may_read.set()
    until(lambda: len(watcher.frames) >= before + len(told))
    assert [frame.event for frame in watcher.leave()[before:]] == told


STEPS = st.lists(
    st.tuples(st.sampled_from(["write", "ring", "again", "early", "future", "tick", "turn", "join"]), st.integers(1, 4))
)


@settings(deadline=None)
@given(STEPS)
def test_whatever_becomes_of_the_rings_every_stream_has_all_events_once_and_in_order(
    steps: list[tuple[str, int]],
) -> None:
    """P1-P3: rings are dropped, doubled, mixed up or spurious, streams come at any time with any cursor."""
    book = Book()
    hub = hub_on(book)
    watchers = [(0, Watcher(hub, "e1.0"))]
    for step, count in steps:
        newest = len(book.events)
        if step == "write":
            book.write(count)
        elif step == "join":
            watchers.append((newest // count, Watcher(hub, f"e1.{newest // count}")))
        elif step == "tick":
            hub._check_heads()
        elif step == "turn":
            gevent.sleep(0)
        elif step == "future":
            ring(hub, happening(newest + 1000))
        elif newest:
            back = {"ring": 0, "again": 1, "early": count}[step]
            ring(hub, book.events[max(0, newest - 1 - back)])
    hub._check_heads()
    newest = len(book.events)
    until(lambda: all(watcher.stream.pos == newest for _, watcher in watchers))
    for start, watcher in watchers:
        watcher.leave()
        assert watcher.seqs() == list(range(start + 1, newest + 1))
        assert watcher.names[0] == "ready"
        assert all(Cursor.parse(frame.id) for frame in watcher.frames)
