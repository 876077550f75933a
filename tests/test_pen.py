"""Frames of an answer that is being written: whatever of them comes, after whatever the store knew, makes the text."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import to_builtins

from chat.draft import Draft
from chat.events import Metadata, Reasoning, Said, Source, Sources, Stage, Token, Tool
from chat.pen import Frame, Pen, frames, is_text
from realtime.frames import frame
from tests.held import Held
from tests.sse import EventStream

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=0, max_size=6) | st.sampled_from(
    ["😀", "é", "👩‍👩‍👧", "\n", "\r\n", "\u2028"]
)
EVENTS = st.one_of(
    TEXTS.map(Token),
    TEXTS.map(Token),
    TEXTS.map(Reasoning),
    st.sampled_from(["search", "write"]).map(Stage),
    st.builds(Tool, st.just("find"), st.sampled_from(["1", "2"]), st.sampled_from(["running", "success"])),
    TEXTS.map(lambda title: Sources([Source(title=title)])),
    TEXTS.map(lambda model: Metadata(model=model)),
)
TELL, SAVE, SEIZE = "tell", "save", "seize"
STEPS = st.lists(EVENTS | st.sampled_from([TELL, TELL, SAVE, SEIZE]), min_size=1, max_size=30)


class Desk:
    """A pen and a store, as agents/scribe.py works with them. `stored` is what a reader who asks is given."""

    def __init__(self) -> None:
        self.pen = Pen("r1", "t1", "log", 1, 0, Draft())
        self.stored: dict[str, Any] = {"gen": 1, "count": 0}
        self.told: list[tuple[Frame, dict[str, Any]]] = []  # with what was stored then

    def do(self, step: Said | str) -> None:
        if isinstance(step, Said):
            self.write(step)
        elif step == TELL:
            self.tell()
        elif step == SAVE:
            self.tell()
            self.save()
        else:
            self.seize()

    def write(self, event: Said) -> None:
        if not self.pen.joins(event):
            self.tell()
            self.save()
        self.pen.add(event)
        if not is_text(event):
            told = self.pen.frame()
            self.save()
            self.note(told)

    def tell(self) -> None:
        self.note(None if self.pen.is_saved else self.pen.frame())

    def note(self, told: Frame | None) -> None:
        if told:
            self.told.append((Frame(told.kind, json.loads(json.dumps(told.data))), self.stored))

    def save(self) -> None:
        self.stored = {"gen": self.pen.gen, "count": self.pen.count, **to_builtins(self.pen.draft)}
        self.pen.saved()

    def seize(self) -> None:
        """Another worker goes on: from what is stored, since it knows no more."""
        draft = Draft(**{name: value for name, value in self.stored.items() if name in ("text", "reasoning")})
        if {*self.stored} <= {"gen", "count", "text", "reasoning"}:
            self.pen = Pen("r1", "t1", "log", self.pen.gen + 1, self.stored["count"], draft)
            self.stored = {**self.stored, "gen": self.pen.gen}

    def finish(self) -> None:
        self.tell()
        self.save()


def written(steps: list[Said | str]) -> Desk:
    desk = Desk()
    for step in steps:
        desk.do(step)
    desk.finish()
    return desk


@settings(max_examples=300, deadline=None)
@given(steps=STEPS, lost=st.sets(st.integers(0, 40)), came=st.integers(0, 40), late=st.integers(0, 3))
def test_a_reader_who_comes_at_any_time_and_misses_anything_has_the_whole(
    steps: list[Said | str], lost: set[int], came: int, late: int
) -> None:
    """It is told what is stored when it comes, hears frames from any time around then, and asks when one is missing."""
    desk, held = written(steps), Held()
    came = min(came, len(desk.told))
    held.take_whole(desk.told[came][1] if came < len(desk.told) else desk.stored)
    for number, (told, stored) in enumerate(desk.told[max(0, came - late) :], max(0, came - late)):
        if number in lost:
            continue
        held.take_piece(told.kind, told.data)
        if held.is_behind:
            held.take_whole(stored)
            held.take_piece(told.kind, told.data)
    held.take_whole(desk.stored)  # what the tick, or the message at the end, makes sure of
    assert words_of({"gen": held.gen, "count": held.count, **held.parts}) == words_of(desk.stored)


@settings(max_examples=200, deadline=None)
@given(steps=STEPS)
def test_who_hears_every_frame_needs_nothing_else(steps: list[Said | str]) -> None:
    desk, held = written([step for step in steps if step != SEIZE]), Held()
    for told, _ in desk.told:
        assert told.data["since"] <= held.count
        held.take_piece(told.kind, told.data)
        assert not held.is_behind
    assert words_of({"gen": 1, "count": held.count, **held.parts}) == words_of(desk.stored)


def words_of(told: dict[str, Any]) -> dict[str, Any]:
    """Without what says nothing."""
    return {name: value for name, value in told.items() if value}


def test_a_stream_that_is_cut_at_any_byte_of_a_frame_goes_on_from_a_snapshot() -> None:
    """What was cut off says nothing, and what comes after it joins."""
    words: list[Said | str] = []
    for word in ("Hel", "lo, 😀", " e\u0301", "\u2028", " wörld"):
        words += [Token(word), TELL]
    desk = written(words)
    lines = [frame(told.kind, told.data, "e.1") for told, _ in desk.told]
    for number, line in enumerate(lines):
        for cut in range(len(line) + 1):
            held, parser = Held(), EventStream("")
            for event in parser.feed(b"".join(lines[:number]) + line[:cut]):
                held.take_piece(event.event, event.json)
            held.take_whole(desk.told[number][1])  # it comes back, and is told what the store knows
            for told, _ in desk.told[number:]:
                held.take_piece(told.kind, told.data)
            assert held.text == "Hello, 😀 e\u0301\u2028 wörld"


def test_a_batch_is_told_in_as_few_frames_as_its_sections() -> None:
    pen = Pen("r1", "t1", "log", 1, 0, Draft())
    told = list(frames(pen, [Token("a"), Token("b"), Reasoning("c"), Stage("d"), Token("e"), Token("f")]))
    assert [(frame.kind, frame.data["since"], frame.data["count"]) for frame in told] == [
        ("delta", 0, 2),
        ("reasoning", 2, 3),
        ("stage", 3, 4),
        ("delta", 4, 6),
    ]
    assert told[-1].data["at"] == 2


def test_empty_words_are_counted_and_told_but_take_no_room() -> None:
    pen = Pen("r1", "t1", "log", 1, 0, Draft())
    for word in ["a", *[""] * 1000, "b"]:
        pen.add(Token(word))
    told = pen.frame()
    assert told is not None
    assert (told.data["since"], told.data["count"], told.data["text"]) == (0, 1002, "ab")
    assert pen.mark() == (1002, 2)


def test_what_came_too_late_is_forgotten_with_the_empty_words_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pen = Pen("r1", "t1", "log", 1, 0, Draft())
    for now, word in enumerate(["a", "", "b", "", "c", ""]):
        monkeypatch.setattr("chat.pen.now_ms", lambda now=now: now)
        pen.add(Token(word))
    pen.cut_back(1)
    assert (pen.draft.text, pen.count) == ("a", 2)
