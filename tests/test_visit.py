"""What is counted of streams: how many, how they could be continued, why they went, how long an event took."""

from __future__ import annotations

import logging
import time

import pytest

from realtime import clock, visit
from realtime.stream import Stream
from tests.books import LOG, Book, Watcher, happening, hub_on, ring
from tests.test_metrics import now
from tests.until import until

OPEN = 'backchannel_streams_open{kind="everything"}'
COUNT = "backchannel_commit_to_write_seconds_count"


class Growth:
    """By how much each number has grown since."""

    def __init__(self) -> None:
        self._before = now()

    def __getitem__(self, name: str) -> float:
        return now().get(f"backchannel_{name}", 0) - self._before.get(f"backchannel_{name}", 0)


def resumed(outcome: str, cause: str = "") -> str:
    return f'streams_resumed_total{{cause="{cause}",outcome="{outcome}"}}'


@pytest.mark.parametrize(
    ("cursor", "number"),
    [
        (None, resumed("fresh")),
        ("e1.5", resumed("caught_up")),
        ("e1.2", resumed("replayed")),
        ("e0.5", resumed("reset", "epoch")),
        ("e1.6", resumed("reset", "future")),
        ("none", resumed("reset", "malformed")),
    ],
)
def test_a_stream_is_counted_by_how_it_could_be_continued(cursor: str | None, number: str) -> None:
    book, growth = Book(), Growth()
    book.write(5)
    watcher = Watcher(hub_on(book), cursor)
    watcher.wait_for("ready")
    until(lambda: growth[number] == 1)
    assert sum(growth[resumed(outcome)] for outcome in ("fresh", "caught_up", "replayed")) == ("reset" not in number)
    watcher.leave()


@pytest.mark.parametrize(("reason", "told"), [("rotate", "rotate"), ("drain", "drain"), ("auth", "auth"), ("", "gone")])
def test_it_is_open_until_it_ends_and_then_its_reason_counts(
    reason: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    growth, before = Growth(), now().get(OPEN, 0)
    watcher = Watcher(hub_on(Book()))
    watcher.wait_for("ready")
    assert now()[OPEN] == before + 1
    assert growth['streams_opened_total{kind="everything"}'] == 1
    watcher.stream.hang_up(reason)
    until(lambda: growth[f'streams_closed_total{{reason="{told}"}}'] == 1)
    assert now()[OPEN] == before
    assert f"a stream of everything ends ({told}) after" in caplog.text


@pytest.mark.parametrize(("stalled", "told"), [(5.0, "broken"), (0.0, "stalled")])
def test_a_stream_whose_writing_fails_is_broken_or_stalled(
    stalled: float, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visit, "STALLED", stalled)
    growth = Growth()
    frames = Stream(hub_on(Book()), LOG, "session:1", None, lambda event: True, "c1").serve()
    next(frames)
    frames.close()  # as a server does that could not write
    assert growth[f'streams_closed_total{{reason="{told}"}}'] == 1


def test_a_stream_that_the_store_fails_has_failed() -> None:
    book, growth = Book(), Growth()
    book.trouble = OSError("away")
    list(Stream(hub_on(book), LOG, "session:1", None, lambda event: True, "c1").serve())
    assert growth['streams_closed_total{reason="failed"}'] == 1


def test_an_event_that_was_waited_for_is_timed_once_in_a_worker() -> None:
    book, growth = Book(), Growth()
    hub = hub_on(book)
    watchers = [Watcher(hub) for _ in range(3)]
    for watcher in watchers:
        watcher.wait_for("ready")
        until(lambda watcher=watcher: watcher.stream._visit._is_live)
    event = book.write()
    event.at = clock.stamp()
    ring(hub, event)
    for watcher in watchers:
        watcher.wait_for("message")
        watcher.leave()
    assert growth[COUNT.removeprefix("backchannel_")] == 1


@pytest.mark.parametrize("at", ["", "elsewhere:1.0", f"{clock.BOOT}:soon", f"{clock.BOOT}:1.0"])
def test_what_came_from_elsewhere_or_before_is_not_timed(at: str) -> None:
    growth = Growth()
    event = happening(1)
    event.at = at
    with visit.Visit("everything", "c1") as here:
        here.catches_up()
        here.passes_on(event)
        here.end = "gone"
    assert growth[COUNT.removeprefix("backchannel_")] == 0


def test_a_moment_is_read_as_it_was_stamped() -> None:
    before = time.monotonic()
    stamped = clock.moment(clock.stamp())
    assert stamped is not None
    assert before - 0.001 <= stamped <= time.monotonic() + 0.001


def test_hints_that_did_not_come_are_counted_by_what_found_it() -> None:
    book, growth = Book(), Growth()
    hub = hub_on(book)
    watcher = Watcher(hub)
    watcher.wait_for("ready")
    book.write(2)
    third = book.write()
    ring(hub, third)
    until(lambda: growth['hints_lost_total{found_by="ring"}'] == 2)
    book.write(4)
    hub._check_heads()
    assert growth['hints_lost_total{found_by="tick"}'] == 4
    hub._check_heads()
    assert growth['hints_lost_total{found_by="tick"}'] == 4
    watcher.leave()
