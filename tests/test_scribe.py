"""The scribe where the store is away, and when many answers wait to be saved."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
from sqlalchemy.orm import Session

from agents.scribe import FEW, SAVE, Scribe, Writing
from chat.events import Handoff, Token
from chat.store import Store, StoreAway, T
from tests.acts import newest_run, open_thread, say, texts, write


class Cut(Scribe):
    """Loses its store when told to."""

    is_away = False

    def persist(self, work: Callable[[Session], T]) -> T:
        if self.is_away:
            raise StoreAway("cut off")
        return super().persist(work)


def test_what_could_not_be_stored_with_what_it_does_is_said_again_and_done(
    store: Store, people: SimpleNamespace
) -> None:
    thread = open_thread(store, people.alice)
    say(store, people.alice, thread)
    run, scribe = newest_run(store, thread)["id"], Cut(store, lambda *_: None, 60.0)
    with scribe.writing(people.agent, thread, run) as writing:
        writing.take(Token("One moment. "))
        scribe.save(writing)
        scribe.is_away = True
        with pytest.raises(StoreAway):
            writing.take(Handoff("Over to Ann."))
        scribe.is_away = False
    again = write(store, people.agent, thread, run, {"type": "handoff", "text": "Over to Ann."}, index=1)
    assert (again.body["have"], again.replayed) == (2, False)
    assert texts(store, people.alice, thread) == ["Hello?", "Over to Ann."]


class Counting(Scribe):
    """Notes how many answers it has saved together."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, lambda *_: None, 60.0)
        self.together: list[int] = []

    def _save(self, writings: Sequence[Writing]) -> None:
        self.together.append(len(writings))
        super()._save(writings)


def test_who_has_been_heard_out_is_not_hung_up_on_afterwards(store: Store, people: SimpleNamespace) -> None:
    """By then they may speak of something else on the same connection."""
    scribe, hung_up = Scribe(store, lambda *_: None, 60.0), []
    with scribe.writing(people.agent, open_thread(store, people.alice), "run") as writing:
        writing.when_over(lambda: hung_up.append("now"))
        writing.take(Token("One moment. "))
    writing.lose()
    assert hung_up == []


def test_answers_that_all_wait_after_a_stall_are_saved_few_by_few(store: Store, people: SimpleNamespace) -> None:
    scribe, thread = Counting(store), open_thread(store, people.alice)
    with ExitStack() as stack:
        answers = [scribe.writing(people.agent, thread, f"run {number}") for number in range(2 * FEW + 5)]
        for writing in (writings := [stack.enter_context(answer) for answer in answers]):
            writing.take(Token("One moment. "))
            writing.looked_at -= SAVE
        for _ in range(4):
            scribe._save_those_due()
        assert scribe.together == [FEW, FEW, 5]
        assert all(writing.pen.is_saved for writing in writings)


def test_few_answers_are_saved_with_the_first_that_is_due(store: Store, people: SimpleNamespace) -> None:
    scribe, thread = Counting(store), open_thread(store, people.alice)
    with ExitStack() as stack:
        for number, ago in enumerate((SAVE, SAVE * 0.7, SAVE * 0.2)):
            writing = stack.enter_context(scribe.writing(people.agent, thread, f"run {number}"))
            writing.take(Token("One moment. "))
            writing.looked_at -= ago
        scribe._save_those_due()
        assert scribe.together == [2]
