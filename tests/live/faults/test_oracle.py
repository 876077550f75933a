"""The oracle catches every way of breaking the promise, and is content when it was kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.live.faults.oracle import Said, Shown, Verdict, Watch, judge

A, B = "thread-a", "thread-b"
ROWS: dict[str, list[Shown]] = {A: [("1", "one"), ("2", "two"), ("4", "four")], B: [("3", "three")]}
SAID = [Said(A, "one", True), Said(A, "two", True), Said(B, "three", True), Said(A, "four", False)]
Change = Callable[[dict[str, list[Shown]]], None]


def after(stored: Change | None = None, shown: Change | None = None, said: list[Said] = SAID) -> Verdict:
    """The verdict when something was changed in what is stored, or in what a watcher of both threads was shown."""
    rows, seen = ({thread: list(messages) for thread, messages in ROWS.items()} for _ in range(2))
    for change, of in ((stored, rows), (shown, seen)):
        if change:
            change(of)
    return judge(said, rows, [Watch("watcher", frozenset({A, B}), seen)] if not stored else [])


def test_it_is_content_with_a_promise_kept() -> None:
    assert after().lines == []


def test_what_is_unacknowledged_may_be_missing_or_there_once() -> None:
    assert after(stored=lambda rows: rows[A].remove(("4", "four"))).lines == []


@pytest.mark.parametrize(
    ("broken", "how"),
    [
        ("lost", lambda rows: rows[A].remove(("2", "two"))),
        ("lost", lambda rows: rows.clear()),
        ("duplicated", lambda rows: rows[A].append(("9", "two"))),
        ("duplicated", lambda rows: rows[A].append(("9", "four"))),  # unacknowledged, but twice
        ("foreign", lambda rows: rows[A].append(("9", "never said"))),
        ("lost", lambda rows: rows.update({A: [], B: [("3", "three"), *ROWS[A]]})),  # in another thread
        ("lost", lambda rows: rows[A].__setitem__(1, ("2", "tw"))),  # damaged
    ],
)
def test_it_catches_what_is_wrong_in_the_database(broken: str, how: Change) -> None:
    assert getattr(after(stored=how), broken)


@pytest.mark.parametrize(
    ("broken", "how"),
    [
        ("lost", lambda seen: seen[A].remove(("1", "one"))),
        ("lost", lambda seen: seen[A].pop()),
        ("lost", lambda seen: seen.pop(B)),
        ("duplicated", lambda seen: seen[A].append(("1", "one"))),
        ("duplicated", lambda seen: seen[A].insert(1, ("1", "one"))),
        ("inverted", lambda seen: seen[A].reverse()),
        ("inverted", lambda seen: seen[A].insert(0, seen[A].pop())),
        ("foreign", lambda seen: seen[A].append(("9", "never said"))),
        ("foreign", lambda seen: seen[A].append(("3", "three"))),  # of another thread
        ("foreign", lambda seen: seen.update(other=[("8", "somebody else's")])),
        ("lost", lambda seen: seen[A].__setitem__(0, ("1", "on"))),  # damaged
    ],
)
def test_it_catches_what_is_wrong_with_a_watcher(broken: str, how: Change) -> None:
    assert getattr(after(shown=how), broken)


def judge_page(shown: list[Shown]) -> Verdict:
    rows = {A: [(str(number), f"word {number}") for number in range(10)]}
    said = [Said(A, text, True) for _, text in rows[A]]
    return judge(said, rows, [Watch("page", frozenset({A}), {A: shown}, newest=4)])


@pytest.mark.parametrize("first", [0, 3, 6])
def test_a_page_may_begin_with_the_newest(first: int) -> None:
    assert judge_page([(str(number), f"word {number}") for number in range(first, 10)]).lines == []


@pytest.mark.parametrize("numbers", [[7, 8, 9], [0, 1, 2, 3], [5, 6, 8, 9], [6, 7, 8, 9, 9], [6, 7, 9, 8], []])
def test_but_not_with_fewer_nor_with_a_gap(numbers: list[int]) -> None:
    assert judge_page([(str(number), f"word {number}") for number in numbers]).lines


def test_a_page_may_draw_a_question_below_the_answer_that_it_had_to_wait_for() -> None:
    drawn = {A: [*ROWS[A][:1], ROWS[A][2], ROWS[A][1]]}
    said = [Said(A, text, True) for _, text in ROWS[A]]
    assert judge(said, {A: ROWS[A]}, [Watch("page", frozenset({A}), drawn, 50, drawn)]).lines == []
    assert judge(said, {A: ROWS[A]}, [Watch("page", frozenset({A}), {A: ROWS[A]}, 50, drawn)]).inverted
