"""The log: one line for every record whatever is in it, as text and as JSON, and nothing that is nobody's business."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

import logs
from chat.ids import new_id
from tests.kept_logging import kept_logging

# CWE-117: what forges a line, moves the cursor, turns the reading direction, or cannot be written at all.
INJECTIONS = [
    "a\nb",
    "a\r\n2026-01-01T00:00:00.000Z 1 INFO root: forged",
    "\x1b[2J\x1b]0;title\x07",
    "\x00",
    "\x08\x7f",
    "\x85\u2028\u2029",
    "\x9b31m",
    "\u202eforged",
    "\ud800",
    "%s %d %(name)s {0}",
    '", "level": "critical"}',
    "é 日本 🙂",
]
FORMS = ["text", "json"]
UNSEEN = {*map(chr, range(32)), *map(chr, range(127, 160)), "\u2028", "\u2029", "\u202e"}


@pytest.fixture(autouse=True)
def _nothing_bound() -> Iterator[None]:
    logs.begin()
    yield
    logs.begin()


def line_of(form: str, said: str, *args: object, facts: dict[str, Any] | None = None, error: Any = None) -> str:
    record = logging.LogRecord("the.room", logging.WARNING, __file__, 1, said, args, error)
    record.facts = facts or {}
    return logs.formatter(form).format(record)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("text", INJECTIONS)
def test_a_record_is_one_line_without_control_characters(form: str, text: str) -> None:
    logs.note(why=text)
    for line in (line_of(form, "said %s", text, facts={"route": text}), line_of(form, text), line_of(form, "plain")):
        assert not UNSEEN & set(line)
        assert len(line.encode().splitlines()) == 1


@pytest.mark.parametrize("text", INJECTIONS)
def test_as_json_it_says_exactly_what_was_said(text: str) -> None:
    logs.note(why="bad_key", attempt=2)
    record = json.loads(line_of("json", "said %s", text, facts={"status": 400}))
    assert record["message"] == f"said {text}"
    assert (record["level"], record["logger"], record["pid"]) == ("warning", "the.room", os.getpid())
    assert (record["why"], record["attempt"], record["status"]) == ("bad_key", 2, 400)
    assert record["time"][10] == "T"
    assert record["time"].endswith("Z")
    assert len(record["time"]) == len("2026-01-01T00:00:00.000Z")


def test_as_text_it_reads_like_a_sentence_with_its_ids_behind() -> None:
    logs.note(request="r1")
    line = line_of("text", "GET %s", "/x", facts={"status": 400})
    assert line.endswith(f"Z {os.getpid()} WARNING the.room: GET /x [request=r1]")


def broken(text: str) -> Any:
    secret = "swordfish"
    try:
        try:
            raise KeyError(secret and "inner")
        except KeyError as inner:
            raise ValueError(text) from inner
    except ValueError:
        return sys.exc_info()


@pytest.mark.parametrize("form", FORMS)
def test_a_traceback_stays_with_its_record_and_shows_no_values(form: str) -> None:
    quoting = "null value in column\nDETAIL:  Failing row contains (Meet me at\n2026-01-01T00 noon)."
    lines = line_of(form, "it broke", error=broken(quoting)).split("\n")
    whole = "\n".join(lines)
    assert "ValueError: null value in column" in whole
    assert "KeyError" in whole
    assert "noon" not in whole
    assert "swordfish'" not in whole
    if form == "json":
        assert len(lines) == 1
        assert json.loads(lines[0])["traceback"].startswith("Traceback")
    else:
        assert all(line.startswith("    ") for line in lines[1:]), "a line of it could pass for a record"


@pytest.mark.parametrize("stranger", ["", None, "canary-in-the-coal-mine", "a" * 36, f"{new_id()}\n", "../../etc"])
def test_only_ids_of_ours_are_named(stranger: str | None) -> None:
    known = new_id()
    logs.about(thread=stranger, run=known, stream="0123456789abcdef")
    record = json.loads(line_of("json", "said"))
    assert (record["run"], record["stream"]) == (known, "0123456789abcdef")
    assert "thread" not in record


def test_each_greenlet_has_ids_of_its_own() -> None:
    def say(name: str) -> str:
        logs.begin()
        logs.note(request=name)
        gevent.sleep(0)
        return str(json.loads(line_of("json", "said"))["request"])

    names = [f"request {number}" for number in range(60)]
    assert [task.get() for task in [gevent.spawn(say, name) for name in names]] == names


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The read end of a pipe that takes what is logged."""
    ours, theirs = os.pipe()
    monkeypatch.setattr(logs, "STDERR", theirs)
    with kept_logging():
        yield ours
    for end in (ours, theirs):
        os.close(end)


def test_a_reader_that_hangs_costs_lines_and_no_time(written: int) -> None:
    logs.set_up("json")
    for _ in range(100):
        logging.warning("x" * 3900)
    whole = os.read(written, 1 << 20)
    assert whole.count(b"\n") > 5
    logging.warning("heard again")
    assert b"heard again" in os.read(written, 1 << 20)


def test_what_a_greenlet_dies_of_is_a_record_too(written: int, monkeypatch: pytest.MonkeyPatch) -> None:
    logs.set_up("json")
    monkeypatch.setattr(gevent.get_hub(), "print_exception", gevent.get_hub().print_exception)
    logs.watch_greenlets()
    gevent.spawn(lambda: 1 // 0).join()
    record = json.loads(os.read(written, 1 << 20))
    assert record["message"] == "a greenlet died"
    assert "ZeroDivisionError" in record["traceback"]


def test_a_record_that_cannot_be_written_stops_nobody(written: int, monkeypatch: pytest.MonkeyPatch) -> None:
    logs.set_up("text")
    with monkeypatch.context() as patch:
        patch.setattr(logs, "STDERR", 10**6)
        logging.warning("said to nobody")
    logging.warning("wrong %d", "argument")
    logging.warning("heard again")
    [line] = os.read(written, 1 << 20).splitlines()
    assert line.endswith(b"heard again")
