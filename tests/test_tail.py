"""Ordering, gap filling and deduplication: one rule, and the two races that it closes (DESIGN 5)."""

from collections.abc import Callable

import gevent
import msgspec
import pytest
from gevent.event import Event as Flag
from hypothesis import given
from hypothesis import strategies as st

from realtime import tail as tail_module
from realtime.event import Event, Head
from realtime.tail import PAGE, RECENT, RECENT_BYTES, Tail
from tests.books import LOG, Book, happening
from tests.until import until


class Reader:
    """An open stream, as its tail sees it: it notes what it is told."""

    def __init__(self) -> None:
        self.woken = 0
        self.resets: list[str] = []

    def wake(self) -> None:
        self.woken += 1

    def reset(self, reason: str) -> None:
        self.resets.append(reason)


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def tail(book: Book) -> Tail:
    tail = Tail(LOG, book.head, book.after)
    tail.readers.add(Reader())
    return tail


def seqs(tail: Tail) -> list[int]:
    """What the tail could still tell a stream, from its beginning."""
    return next(([event.seq for event in kept] for seq in range(tail.last) if (kept := tail.recall(seq))), [])


def reader(tail: Tail) -> Reader:
    [found] = tail.readers
    assert isinstance(found, Reader)
    return found


def ring(tail: Tail, seq: int) -> None:
    tail.heard(tail.epoch, seq, happening(seq))


def test_what_is_kept_for_those_who_come_late_is_not_kept_for_ever(
    book: Book, tail: Tail, monkeypatch: pytest.MonkeyPatch
) -> None:
    book.write()
    ring(tail, 1)
    tail.tidy()
    assert seqs(tail) == [1]
    monkeypatch.setattr(tail_module, "RECENTLY", 0.0)
    tail.tidy()
    assert seqs(tail) == []
    tail.remember(book.after(LOG, 0, PAGE).events)  # type: ignore[union-attr]
    book.write()
    ring(tail, 2)
    assert seqs(tail) == [1, 2]


def test_the_next_event_is_taken_at_once_and_the_store_is_not_asked(book: Book, tail: Tail) -> None:
    for seq in (1, 2, 3):
        book.write()
        ring(tail, seq)
    assert (seqs(tail), tail.last, book.reads) == ([1, 2, 3], 3, 0)
    assert reader(tail).woken == 3


def test_what_was_dropped_is_read_when_the_next_ring_comes(book: Book, tail: Tail) -> None:
    book.write(5)
    ring(tail, 5)
    until(lambda: tail.last == 5)
    assert (seqs(tail), book.reads) == ([1, 2, 3, 4, 5], 1)


def test_a_head_without_an_event_has_what_is_missing_read(book: Book, tail: Tail) -> None:
    book.write(3)
    tail.head_is(book.head, tail.last)
    until(lambda: tail.last == 3)
    assert seqs(tail) == [1, 2, 3]


def test_rings_that_are_doubled_or_old_change_nothing(book: Book, tail: Tail) -> None:
    book.write(3)
    for seq in (1, 1, 2, 1, 2, 3, 3, 2, 1):
        ring(tail, seq)
    assert (seqs(tail), tail.last, book.reads) == ([1, 2, 3], 3, 0)


def test_rings_that_overtake_each_other_are_put_in_order(book: Book, tail: Tail) -> None:
    book.write(4)
    for seq in (3, 1, 4, 2):
        ring(tail, seq)
    until(lambda: tail.last == 4)
    gevent.idle()
    assert seqs(tail) == [1, 2, 3, 4]


def test_more_than_a_page_is_read_in_pages(book: Book, tail: Tail) -> None:
    book.write(2 * PAGE + 1)
    ring(tail, 2 * PAGE + 1)
    until(lambda: tail.last == 2 * PAGE + 1)
    assert book.reads == 3


def test_only_one_greenlet_reads_however_many_rings_come(book: Book, tail: Tail) -> None:
    book.may_answer.clear()
    book.write(10)
    for seq in range(2, 11):
        ring(tail, seq)
    book.asked.wait()
    gevent.idle()
    assert book.reads == 1
    book.may_answer.set()
    until(lambda: tail.last == 10)


def test_a_ring_that_arrives_while_a_refresh_is_ending_is_not_lost() -> None:
    """Race (a). The refresh has read all that there was; before it is done, another event commits and rings."""
    book, tail = Book(), None
    book.write(2)
    last_read_over = Flag()

    def after(log: str, seq: int, limit: int):  # type: ignore[no-untyped-def]
        page = book.after(log, seq, limit)
        if not last_read_over.is_set():
            # Committed and rung after this read's snapshot was taken, while its answer is on its way.
            last_read_over.set()
            tail.heard("e1", book.write(2).seq)
        return page

    tail = Tail(LOG, Head("e1", 0, 0), after)
    tail.heard("e1", 2)
    until(lambda: tail.last == 4)
    assert seqs(tail) == [1, 2, 3, 4]


@pytest.mark.parametrize("yields", range(6))
def test_a_ring_is_not_lost_at_whatever_step_of_a_refresh_it_arrives(yields: int) -> None:
    """Race (a) again, at every point where another greenlet can run; the ring is the last there ever is."""
    book = Book()
    book.write()

    def after(log: str, seq: int, limit: int):  # type: ignore[no-untyped-def]
        page = book.after(log, seq, limit)
        gevent.sleep(0)
        return page

    def late() -> None:
        for _ in range(yields):
            gevent.sleep(0)
        book.write(2)
        tail.heard("e1", 3)

    tail = Tail(LOG, Head("e1", 0, 0), after)
    tail.heard("e1", 1)
    gevent.spawn(late).join()
    until(lambda: tail.last == 3)
    assert seqs(tail) == [1, 2, 3]


def test_a_ring_for_a_seq_that_a_running_refresh_is_about_to_apply_is_taken_once(book: Book, tail: Tail) -> None:
    """Race (b). The page with 1, 2 and 3 is on its way; meanwhile their rings come, late."""
    book.may_answer.clear()
    book.write(3)
    ring(tail, 3)
    book.asked.wait()
    for seq in (1, 2, 3):
        ring(tail, seq)
    assert tail.last == 3
    woken = reader(tail).woken
    book.may_answer.set()
    gevent.idle()
    assert (seqs(tail), tail.last, reader(tail).woken) == ([1, 2, 3], 3, woken)


def test_a_ring_in_the_middle_of_a_page_on_its_way_is_taken_once(book: Book, tail: Tail) -> None:
    book.may_answer.clear()
    book.write(4)
    ring(tail, 4)
    book.asked.wait()
    ring(tail, 1)
    ring(tail, 2)
    book.may_answer.set()
    until(lambda: tail.last == 4)
    assert seqs(tail) == [1, 2, 3, 4]


def test_a_ring_from_the_future_is_believed_only_as_far_as_the_store_goes(book: Book, tail: Tail) -> None:
    book.write()
    ring(tail, 10**12)
    until(lambda: tail.last == 1)
    until(lambda: tail.wanted == 1)
    reads = book.reads
    book.write()
    ring(tail, 2)
    gevent.idle()
    assert (seqs(tail), book.reads) == ([1, 2], reads)


def test_a_ring_of_another_life_changes_nothing(book: Book, tail: Tail) -> None:
    tail.heard("another", 1, happening(1))
    tail.heard("another", 99)
    gevent.idle()
    assert (tail.last, tail.wanted, book.reads) == (0, 0, 0)


@pytest.mark.parametrize(("head", "reason"), [(Head("e2", 1, 0), "epoch"), (Head("e1", 1, 0), "rewound")])
def test_another_epoch_or_a_head_below_last_resets_the_tail_and_its_readers(
    book: Book, tail: Tail, head: Head, reason: str
) -> None:
    book.write(2)
    tail.head_is(book.head, 0)
    until(lambda: tail.last == 2)
    tail.head_is(head, tail.last)
    assert (tail.epoch, tail.last, tail.wanted, seqs(tail)) == (head.epoch, 1, 1, [])
    assert reader(tail).resets == [reason]


@pytest.mark.parametrize(("floor", "pruned"), [(1, False), (2, False), (3, True), (5, True)])
def test_a_tail_whose_missing_events_are_pruned_starts_anew(book: Book, tail: Tail, floor: int, pruned: bool) -> None:
    """They cannot be read any more; without this every tick would try for ever."""
    for seq in (1, 2):
        book.write()
        ring(tail, seq)
    book.write(3)
    book.floor = floor
    tail.head_is(book.head, tail.last)
    until(lambda: tail.last == 5)
    assert reader(tail).resets == (["pruned"] if pruned else [])
    assert seqs(tail) == ([] if pruned else [1, 2, 3, 4, 5])
    assert book.reads == (0 if pruned else 1)


def test_a_ring_that_overtook_the_question_for_heads_is_no_rewind(book: Book, tail: Tail) -> None:
    before, head = tail.last, book.head
    book.write()
    ring(tail, 1)
    tail.head_is(head, before)
    assert (reader(tail).resets, tail.last) == ([], 1)


def test_a_page_of_another_life_is_not_taken(book: Book, tail: Tail) -> None:
    book.may_answer.clear()
    book.write(2)
    ring(tail, 2)
    book.asked.wait()
    tail.start_anew(Head("e2", 0, 0), "epoch")
    book.may_answer.set()
    gevent.idle()
    assert (tail.last, seqs(tail)) == (0, [])


def test_when_the_store_is_away_the_next_hint_tries_again(
    book: Book, tail: Tail, caplog: pytest.LogCaptureFixture
) -> None:
    book.write(2)
    book.trouble = OSError("the disk is gone")
    ring(tail, 2)
    until(lambda: "cannot read on" in caplog.text)
    book.trouble = None
    tail.head_is(book.head, tail.last)
    until(lambda: tail.last == 2)
    assert seqs(tail) == [1, 2]


def test_only_the_recent_events_are_kept(book: Book, tail: Tail) -> None:
    for _ in range(RECENT + 5):
        ring(tail, book.write().seq)
    assert seqs(tail) == list(range(6, RECENT + 6))


def test_and_not_many_bytes_of_them(book: Book, tail: Tail) -> None:
    big = msgspec.Raw(b'"' + b"x" * (RECENT_BYTES // 2) + b'"')
    for seq in range(1, 6):
        tail.heard("e1", seq, Event(seq, "message", "t1", big))
    assert tail.last == 5
    assert seqs(tail) == [5]


STEPS = st.lists(st.tuples(st.sampled_from(["write", "ring", "old", "future", "tick", "turn"]), st.integers(1, 5)))


@given(STEPS)
def test_whatever_is_lost_doubled_or_mixed_up_a_tick_later_all_is_there_in_order(steps: list[tuple[str, int]]) -> None:
    book = Book()
    tail = Tail(LOG, book.head, book.after)
    got: list[int] = []
    take = tail._take
    tail._take = lambda event: (got.append(event.seq), take(event))[1]  # type: ignore[method-assign, func-returns-value]
    for step, count in steps:
        if step == "write":
            book.write(count)
        elif step == "ring" and book.events:
            ring(tail, len(book.events))
        elif step == "old" and book.events:
            ring(tail, max(1, len(book.events) - count))
        elif step == "future":
            ring(tail, len(book.events) + 1000 * count)
        elif step == "tick":
            tail.head_is(book.head, tail.last)
        else:
            gevent.sleep(0)
    tail.head_is(book.head, tail.last)
    until(lambda: tail.last == len(book.events))
    assert got == list(range(1, len(book.events) + 1))


def test_what_one_reader_had_to_fetch_is_kept_for_those_who_come_from_the_same_place() -> None:
    """After a restart hundreds come back a few events behind: one of them reads, for all."""
    book = Book()
    book.write(6)
    tail = Tail(LOG, book.head, book.after)
    tail.remember(book.events[2:6])
    assert seqs(tail) == [3, 4, 5, 6]
    tail.remember(book.events[0:1])
    assert seqs(tail) == [3, 4, 5, 6], "what does not join on is not kept"
    tail.remember(book.events[0:2])
    assert seqs(tail) == [1, 2, 3, 4, 5, 6]
    tail.remember(book.events[5:6])
    assert seqs(tail) == [1, 2, 3, 4, 5, 6], "nor what is there already"


def test_what_is_kept_stays_bounded_whatever_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    book = Book()
    book.write(6)
    tail = Tail(LOG, book.head, book.after)
    monkeypatch.setattr(tail_module, "RECENT", 3)
    tail.remember(book.events[2:6])
    assert seqs(tail) == []
    monkeypatch.setattr(tail_module, "RECENT_BYTES", 1)
    tail.remember(book.events[5:6])
    assert seqs(tail) == []


def test_readers_who_are_as_far_behind_read_together(book: Book, tail: Tail) -> None:
    book.write(3)
    book.may_answer.clear()
    readers = [gevent.spawn(tail.replay, 1) for _ in range(5)]
    other = gevent.spawn(tail.replay, 2)
    gevent.sleep(0.01)
    book.may_answer.set()
    pages = [reader.get() for reader in readers]
    assert [event.seq for event in pages[0].events] == [2, 3]  # type: ignore[union-attr]
    assert all(page is pages[0] for page in pages)
    assert [event.seq for event in other.get().events] == [3]
    assert book.reads == 2
    tail.replay(1)
    assert book.reads == 3, "what was read is not kept"


@pytest.mark.parametrize("killed", [False, True])
def test_readers_who_read_together_fail_together_and_may_try_again(book: Book, tail: Tail, killed: bool) -> None:
    book.write(3)
    book.may_answer.clear()
    readers = [gevent.spawn(caught, OSError, tail.replay, 1) for _ in range(3)]
    gevent.sleep(0.01)
    if killed:
        readers.pop(0).kill()
    book.trouble = OSError("away")
    book.may_answer.set()
    assert all(isinstance(reader.get(), OSError) for reader in readers)
    book.trouble = None
    assert tail.replay(1)


def caught(kind: type[Exception], call: Callable[..., object], *arguments: object) -> object:
    try:
        return call(*arguments)
    except kind as error:
        return error
