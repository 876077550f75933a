"""Two workers at one database: whoever writes to a log holds it, so what it read stays true until it commits."""

import random
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import gevent
import pytest

from agents import outbox
from chat import log, messages, threads, turns
from chat.errors import ChatError, Conflict
from chat.models import ReadMarker
from chat.store import Store, StoreAway
from tests.acts import call, newest_run, open_thread, runs_of, say, spoken, texts, told
from tests.slow import Slow

WAITS = (60.0, 60.0)  # seconds between attempts


@pytest.fixture
def thread(store: Store, people: SimpleNamespace) -> str:
    return open_thread(store, people.alice)


@pytest.fixture
def other(store: Store) -> Iterator[Store]:
    """The other worker's store."""
    found = Store(store.url)
    yield found
    found.close()


def waiting(task: Callable[[], Any]) -> gevent.Greenlet:
    """Begin something that has to wait."""
    found = gevent.spawn(task)
    found.join(timeout=0.2)
    assert not found.ready()
    return found


def test_what_comes_second_is_not_seen_before_the_first(
    store: Store, other: Store, people: SimpleNamespace, thread: str
) -> None:
    """R22: a reader who had been told of the second would never be told of the first."""
    with Slow(other, lambda s: messages.say(s, people.alice, thread, "first")):
        second = waiting(lambda: say(store, people.alice, thread, "second"))
        assert texts(store, people.alice, thread) == []
    second.get()
    assert texts(store, people.alice, thread) == ["first", "second"]
    assert [seq for seq, _, _ in told(store, people.alice.participant_id)] == [1, 2, 3, 4, 5]


def test_a_new_life_of_all_logs_begins_after_what_is_being_written(
    store: Store, other: Store, people: SimpleNamespace, thread: str
) -> None:
    alice = people.alice.participant_id
    before = store.peek(lambda s: log.heads(s, [alice]))[alice]
    with Slow(other, lambda s: messages.say(s, people.alice, thread, "first")):
        rotating = waiting(lambda: log.rotate_epochs(store))
    assert rotating.get() == 4
    after = store.peek(lambda s: log.heads(s, [alice]))[alice]
    assert after.seq == before.seq + 2, "what was written is still there"
    assert after.epoch != before.epoch


def test_of_two_read_markers_the_higher_one_stays(
    store: Store, other: Store, people: SimpleNamespace, thread: str
) -> None:
    seqs = [say(store, people.alice, thread)["seq"] for _ in range(3)]
    store.write(lambda s: threads.mark_read(s, people.alice, thread, seqs[0]))
    with Slow(other, lambda s: threads.mark_read(s, people.alice, thread, seqs[2])):
        second = waiting(lambda: store.write(lambda s: threads.mark_read(s, people.alice, thread, seqs[1])))
    assert second.get()["seq"] == seqs[2]
    assert store.read(lambda s: s.get_one(ReadMarker, thread).seq) == seqs[2]


def test_who_asks_again_twice_at_once_asks_once(
    store: Store, other: Store, people: SimpleNamespace, thread: str
) -> None:
    say(store, people.alice, thread)
    run = newest_run(store, thread)["id"]
    call(store, people.agent, {"thread_id": thread, "run_id": run, "status": "error", "error": "no"})

    def again(session: Any) -> None:
        turns.retry(session, people.alice, thread)

    with Slow(other, again):
        second = waiting(lambda: store.write(again))
    with pytest.raises(Conflict):
        second.get()
    assert len(runs_of(store, thread)) == 2


@pytest.mark.parametrize("way", ["by_key", "by_run"])
def test_of_two_answers_at_once_one_is_taken_and_the_other_told_so(
    store: Store, other: Store, people: SimpleNamespace, thread: str, way: str
) -> None:
    """R20."""
    said = {"thread_id": thread, **spoken("Hello!")} | ({"run_id": "r1"} if way == "by_run" else {})
    key = "k1" if way == "by_key" else None
    stores = [store, other] * 10
    receipts = [gevent.spawn(call, each, people.agent, said, key) for each in stores]
    gevent.joinall(receipts, raise_error=True)
    assert sorted(receipt.value.replayed for receipt in receipts) == [False] + [True] * 19
    assert len({receipt.value.body["message_id"] for receipt in receipts}) == 1
    assert texts(store, people.alice, thread) == ["Hello!"]


def test_who_speaks_in_a_thread_that_is_being_deleted_is_told_that_it_is_not_there(
    store: Store, other: Store, people: SimpleNamespace, thread: str
) -> None:
    with Slow(other, lambda s: threads.delete(s, people.alice, thread)):
        person = waiting(lambda: say(store, people.alice, thread))
        agent = waiting(lambda: call(store, people.agent, {"thread_id": thread, **spoken()}, "k1"))
    with pytest.raises(ChatError, match="no such thread"):
        person.get()
    assert agent.get().status == 404


def test_two_workers_put_every_question_once(store: Store, other: Store, people: SimpleNamespace) -> None:
    asked = [open_thread(store, who) for who in (people.alice, people.bob) for _ in range(10)]
    for number, thread in enumerate(asked):
        say(store, people.alice if number < 10 else people.bob, thread)
    put: list[str] = []

    def work(store: Store) -> None:
        while store.peek(outbox.is_due):
            if question := store.write(lambda s: outbox.claim(s, 10)):
                put.append(question.run_id)

    gevent.joinall([gevent.spawn(work, each) for each in (store, other, store, other)], raise_error=True)
    assert sorted(put) == sorted(newest_run(store, thread)["id"] for thread in asked)


def test_whatever_happens_at_once_nobody_waits_for_one_who_waits_for_them(
    store: Store, other: Store, people: SimpleNamespace
) -> None:
    """Persons write and read, agents answer, workers ask, note and give up, all in the same few logs."""
    owners = {open_thread(store, who): who for who in (people.alice, people.alice, people.bob)}
    trouble: list[str] = []

    def step(store: Store, luck: random.Random) -> None:
        thread = luck.choice(list(owners))
        who, kind = owners[thread], luck.randrange(6)
        if kind == 0:
            say(store, who, thread)
        elif kind == 1:
            store.write(lambda s: threads.mark_read(s, who, thread, luck.randrange(500)))
        elif kind == 2:
            open_runs = [run["id"] for run in runs_of(store, thread) if run["status"] in ("queued", "running")]
            body = {"thread_id": thread, "run_id": luck.choice(open_runs or ["r1"]), **spoken()}
            call(store, people.agent, body)
        elif kind == 3:
            store.write(lambda s: outbox.end_silent(s, 0.0))
        elif question := store.write(lambda s: outbox.claim(s, 10)):
            note = outbox.accepted if kind == 4 else lambda s, q: outbox.failed(s, q, "no", WAITS)
            store.write(lambda s: note(s, question))

    def work(store: Store, seed: int) -> None:
        luck = random.Random(seed)
        for _ in range(25):
            try:
                step(store, luck)
            except StoreAway as error:
                trouble.append(str(error))

    gevent.joinall([gevent.spawn(work, (store, other)[n % 2], n) for n in range(6)], raise_error=True)
    assert not [error for error in trouble if "deadlock" in error]
    for who in (people.alice, people.bob):
        seqs = [seq for seq, _, _ in told(store, who.participant_id)]
        assert seqs == list(range(1, len(seqs) + 1))
        assert len(seqs) > 20
