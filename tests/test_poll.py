"""Long polling: the same events as on a stream, from the same cursor, in many answers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gevent
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime import poll as poll_module
from realtime.event import Event
from realtime.hub import Hub
from realtime.poll import Poll, entries
from realtime.stream import bye
from tests.books import LOG, Book, Watcher, hub_on, ring
from tests.until import until

LONG = 60.0  # seconds that no test waits for


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


class Polling:
    """A poll that waits, and its answer once there is one."""

    def __init__(self, hub: Hub, cursor: str | None, seconds: float = LONG, **more: Any) -> None:
        about = {"shows": lambda event: True, "conn": "c1", "owner": "alice", **more}
        self.poll = Poll(hub, LOG, "session:alice", cursor, seconds=seconds, **about)
        self._task = gevent.spawn(self.poll.answer)

    @property
    def is_waiting(self) -> bool:
        return self.poll.cursor is not None and not self._task.ready()

    @property
    def answer(self) -> dict[str, Any]:
        return self._task.get(timeout=10)  # type: ignore[no-any-return]

    @property
    def names(self) -> list[str]:
        return [event["event"] for event in self.answer["events"]]


def seqs(answer: dict[str, Any]) -> list[int]:
    return [msgspec.json.decode(each["data"])["seq"] for each in answer["events"] if each["event"] == "message"]


def word(text: str, kind: str = "delta") -> Event:
    return Event(0, kind, "t1", msgspec.Raw(msgspec.json.encode({"text": text})))


def told(hub: Hub, text: str) -> None:
    """The agent says a word; a ring brings it."""
    hub.bus.on_passing(LOG, word(text))


def test_what_comes_after_the_cursor_is_told_at_once(hub: Hub) -> None:
    poll = Polling(hub, "e1.2")
    assert seqs(poll.answer) == [3, 4, 5]
    assert (poll.names[0], poll.answer["cursor"]) == ("ready", "e1.5")
    assert [event["id"] for event in poll.answer["events"]] == ["e1.2", "e1.3", "e1.4", "e1.5"]


@pytest.mark.parametrize("seconds", [0, 0.2])
def test_if_nothing_happens_the_answer_is_empty_when_the_time_is_over(hub: Hub, seconds: float) -> None:
    assert Polling(hub, "e1.5", seconds).answer == {"events": [], "cursor": "e1.5"}


def test_without_a_cursor_it_is_told_where_the_log_stands(hub: Hub) -> None:
    poll = Polling(hub, None)
    assert (poll.names, poll.answer["cursor"]) == (["ready"], "e1.5")


def test_with_no_time_at_all_everything_that_is_there_is_told(hub: Hub) -> None:
    assert seqs(Polling(hub, "e1.0", 0).answer) == [1, 2, 3, 4, 5]


def test_what_the_worker_has_only_heard_of_is_read_before_it_is_told_that_there_is_nothing(
    hub: Hub, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    with somebody_reads(hub):
        book.write(2)
        assert seqs(Polling(hub, "e1.5", 0).answer) == [6, 7]
        book.write()
        book.may_answer.clear()
        monkeypatch.setattr(poll_module, "READING", 0.1)
        assert Polling(hub, "e1.7", 0).answer == {"events": [], "cursor": "e1.7"}, "but not for ever"
        book.may_answer.set()


@contextmanager
def somebody_reads(hub: Hub) -> Iterator[None]:
    """Somebody reads the same log, so that its tail is kept."""
    watcher = Watcher(hub)
    watcher.wait_for("ready")
    yield
    watcher.leave()


def test_what_happens_while_it_waits_is_told_and_what_happens_together_in_one_answer(hub: Hub, book: Book) -> None:
    poll = Polling(hub, "e1.5")
    until(lambda: poll.is_waiting)
    for _ in range(3):
        ring(hub, book.write())
    assert seqs(poll.answer) == [6, 7, 8]


def test_events_that_the_filter_hides_are_no_answer_but_move_the_cursor_on(hub: Hub, book: Book) -> None:
    poll = Polling(hub, "e1.2", 0.3, shows=lambda event: event.thread_id == "t2")
    assert poll.answer == {"events": [], "cursor": "e1.5"}


def test_pages_of_a_large_backlog_are_joined_by_their_cursors(
    hub: Hub, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poll_module, "FULL", 10_000)
    monkeypatch.setattr("realtime.stream.WRITE", 1_000)
    book.write(1_000)
    hub._check_heads()
    cursor, found, answers = "e1.0", [], 0
    while new := seqs(answer := Polling(hub, cursor, 0).answer):
        assert sum(len(bytes(each["data"])) for each in answer["events"]) < 20_000
        found, cursor, answers = found + new, answer["cursor"], answers + 1
    assert found == list(range(1, 1_006))
    assert answers > 3


@pytest.mark.parametrize(("cursor", "reason"), [("e0.3", "epoch"), ("e1.99", "future"), ("x", "malformed")])
def test_a_cursor_that_cannot_be_continued_is_reset_until_everything_was_read_anew(
    hub: Hub, cursor: str, reason: str
) -> None:
    poll = Polling(hub, cursor)
    reset = poll.answer["events"][-1]
    assert (poll.names, reset["id"], poll.answer["cursor"]) == (["ready", "reset"], "reset.0", "reset.0")
    assert msgspec.json.decode(reset["data"])["reason"] == reason
    assert Polling(hub, "reset.0").names == ["ready", "reset"]


def test_a_log_that_begins_anew_while_it_waits_is_told(hub: Hub, book: Book) -> None:
    poll = Polling(hub, "e1.5")
    until(lambda: poll.is_waiting)
    book.begin_anew("e2", 1)
    hub._check_heads()
    assert (poll.names, poll.answer["cursor"]) == (["ready", "reset"], "reset.0")


@pytest.mark.parametrize("reason", ["drain", "auth", "rotate"])
def test_what_ends_a_stream_ends_a_poll_which_tells_when_to_come_back(hub: Hub, reason: str) -> None:
    poll = Polling(hub, "e1.5")
    until(lambda: poll.is_waiting)
    poll.poll.hang_up(reason)
    assert poll.names == ["ready", "bye"]
    last = poll.answer["events"][-1]
    assert (last["id"], msgspec.json.decode(last["data"])["reason"]) == ("e1.5", reason)
    assert not hub.streams


def test_a_store_that_is_away_is_a_bye(hub: Hub, book: Book) -> None:
    book.trouble = OSError("away")
    poll = Polling(hub, "e1.5")
    assert (poll.names, poll.answer["cursor"]) == (["bye"], "e1.5")


def test_a_newer_poll_of_a_page_ends_the_older(hub: Hub) -> None:
    first = Polling(hub, "e1.5", page="mine")
    until(lambda: first.is_waiting)
    first.poll.opened_ms -= 1
    second = Polling(hub, "e1.5", page="mine")
    assert first.names == ["ready", "bye"]
    until(lambda: second.is_waiting)


def test_words_come_while_it_waits_several_in_one_answer(hub: Hub) -> None:
    poll = Polling(hub, "e1.5", focus=["t1"])
    until(lambda: poll.is_waiting)
    for text in "abc":
        told(hub, text)
    assert poll.names == ["ready", "delta", "delta", "delta"]
    assert {event["id"] for event in poll.answer["events"]} == {"e1.5"}


def test_words_of_other_threads_are_not_told(hub: Hub) -> None:
    poll = Polling(hub, "e1.5", 0.3, focus=["t2"])
    until(lambda: poll.is_waiting)
    told(hub, "a")
    assert poll.answer["events"] == []


def test_what_is_being_written_is_told_anew_by_every_poll_though_nobody_says_a_word(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was said between two polls reached neither."""
    monkeypatch.setattr(poll_module, "GLANCE", 0.1)
    written = ["Once"]
    hub.partials = lambda threads: [word(written[0], "partial")] if "t1" in threads else []
    first = Polling(hub, "e1.5", focus=["t1"])
    assert first.names == ["ready", "partial"]
    written[0] = "Once upon"
    again = Polling(hub, first.answer["cursor"], focus=["t1"])
    assert msgspec.json.decode(again.answer["events"][-1]["data"]) == {"text": "Once upon"}
    assert Polling(hub, "e1.5", 0.2, focus=["t2"]).answer["events"] == []


def test_a_poll_that_has_been_answered_ends_as_that(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "realtime.visit")
    assert Polling(hub, "e1.2").answer
    gone = Polling(hub, "e1.5", kind="poll")
    until(lambda: gone.is_waiting)
    gone.poll.hang_up()
    assert gone.answer["events"] == []
    assert "(answered)" in caplog.text
    assert "(gone)" in caplog.text


def test_frames_are_read_as_they_were_written() -> None:
    frames = bye("limit", "e1.5") + b'event: message\ndata: {"text":"a: b\\n\\nid: x"}\nid: e1.6\n\n'
    first, second = entries([frames])
    assert (first["event"], first["id"], msgspec.json.decode(first["data"])["reason"]) == ("bye", "e1.5", "limit")
    assert second == {"event": "message", "id": "e1.6", "data": msgspec.Raw(b'{"text":"a: b\\n\\nid: x"}')}


def test_from_every_cursor_a_poll_tells_what_a_stream_does(hub: Hub, book: Book) -> None:
    book.write(20)
    hub._check_heads()
    for seq in range(26):
        stream = Watcher(hub, f"e1.{seq}")
        until(lambda: stream.stream.cursor and stream.stream.pos == 25)  # noqa: B023 - asked at once
        until(lambda: len(stream.frames) >= 26 - seq)  # noqa: B023
        frames = [(frame.event, frame.id, frame.data) for frame in stream.leave()[1:]]
        events = Polling(hub, f"e1.{seq}", 0).answer["events"][1:]
        assert [(each["event"], each["id"], bytes(each["data"]).decode()) for each in events] == frames


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(1, 30)),  # so many events commit; hints may be lost
        st.tuples(st.just("ring"), st.integers(1, 30)),  # so many commit and ring
        st.tuples(st.just("poll"), st.integers(0, 1)),  # asked; 1: the answer is lost on its way
        st.tuples(st.just("cut"), st.integers(0, 5)),  # asked, and cut after so many turns of the loop
    ),
    max_size=20,
)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_polls_that_are_cut_anywhere_tell_the_log_once_and_in_order(steps: list[tuple[str, int]]) -> None:
    book = Book()
    hub = hub_on(book)
    cursor, found = "e1.0", []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(poll_module, "FULL", 500)
        patched.setattr(poll_module, "COLLECT", 0.0)
        patched.setattr("realtime.stream.WRITE", 100)
        for step, number in [*steps, ("write", 1)]:
            if step == "write":
                book.write(number)
                hub._check_heads()
            elif step == "ring":
                for _ in range(number):
                    ring(hub, book.write())
            elif step == "poll":
                answer = Polling(hub, cursor, 0).answer
                if number == 0:
                    cursor, found = answer["cursor"], found + seqs(answer)
            else:
                poll = Polling(hub, cursor, LONG)
                for _ in range(number):
                    gevent.sleep(0)
                poll.poll.hang_up()
                cursor, found = poll.answer["cursor"], found + seqs(poll.answer)
        while new := seqs(answer := Polling(hub, cursor, 0).answer):
            cursor, found = answer["cursor"], found + new
    assert found == list(range(1, len(book.events) + 1))
    hub.drain()
