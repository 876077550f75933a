"""What is forgotten, when, and that nobody who still needs it is fooled."""

from types import SimpleNamespace

import pytest
from sqlalchemy import func, select, update

from chat import log, pruner
from chat.accounts import DAY
from chat.ids import now_ms
from chat.models import Delivery, IdempotencyKey, LogEntry, Message, Participant, SignIn
from chat.pruner import Pruner
from chat.store import Store
from tests.acts import call, open_thread, say, spoken


@pytest.fixture
def thread(store: Store, people: SimpleNamespace) -> str:
    thread_id = open_thread(store, people.alice)
    for number in range(8):
        say(store, people.alice, thread_id, f"message {number}", client_id=f"{number}")
    return thread_id


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruner, "BATCH", 3)
    monkeypatch.setattr(pruner, "REST", 0)


def age(store: Store, model: type, days: float, condition: object = True) -> None:
    """Make what is there older than it is."""
    store.write(lambda s: s.execute(update(model).where(condition).values(created_at=now_ms() - int(days * DAY))))  # type: ignore[arg-type]


def seqs(store: Store, who: str) -> list[int]:
    query = select(LogEntry.seq).where(LogEntry.participant_id == who).order_by(LogEntry.seq)
    return store.read(lambda s: list(s.scalars(query)))


def floor(store: Store, who: str) -> int:
    return store.read(lambda s: s.get_one(Participant, who).floor)


def count(store: Store, model: type) -> int:
    return store.read(lambda s: s.scalar(select(func.count()).select_from(model))) or 0


def test_events_older_than_the_retention_go_and_the_floor_says_so(
    store: Store, people: SimpleNamespace, thread: str
) -> None:
    alice = people.alice.participant_id
    before = seqs(store, alice)
    age(store, LogEntry, 31, LogEntry.seq <= 7)
    assert Pruner(store, 30).prune() == 7
    assert (floor(store, alice), seqs(store, alice)) == (7, before[7:])
    assert store.read(lambda s: log.after(s, alice, 6, 10)) is None, "a reader of what is gone is told"
    page = store.read(lambda s: log.after(s, alice, 7, 100))
    assert page is not None
    assert [event.seq for event in page.events] == before[7:]


def test_messages_stay_when_their_events_go(store: Store, people: SimpleNamespace, thread: str) -> None:
    age(store, LogEntry, 31)
    Pruner(store, 30).prune()
    assert seqs(store, people.alice.participant_id) == []
    assert count(store, Message) == 8
    head = store.read(lambda s: log.heads(s, [people.alice.participant_id]))[people.alice.participant_id]
    assert head.seq == head.floor, "a reader at the head may stay"


def test_a_log_that_holds_too_much_is_cut_to_what_a_reader_may_be_behind(
    store: Store, people: SimpleNamespace, thread: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = people.alice.participant_id
    newest = seqs(store, alice)[-1]
    monkeypatch.setattr(pruner, "KEPT", 5)
    monkeypatch.setattr(pruner, "SLACK", newest - 5)
    assert Pruner(store, 30).prune() == 0
    monkeypatch.setattr(pruner, "SLACK", newest - 6)
    Pruner(store, 30).prune()
    assert seqs(store, alice) == list(range(newest - 4, newest + 1))


def test_what_is_young_stays_whole(store: Store, people: SimpleNamespace, thread: str) -> None:
    before = seqs(store, people.alice.participant_id)
    assert Pruner(store, 30).prune() == 0
    assert seqs(store, people.alice.participant_id) == before


def test_deliveries_and_sign_ins_go_and_keys_stay_a_week_at_least(
    store: Store, people: SimpleNamespace, thread: str
) -> None:
    for number in range(4):
        call(store, people.agent, {"thread_id": thread, **spoken()}, f"key {number}")
    keys = count(store, IdempotencyKey)
    day = DAY
    store.write(lambda s: s.add(SignIn(user_id=people.alice.user.id, token_hash="x", expires_at=now_ms() - 3 * day)))
    age(store, Delivery, 3)
    age(store, IdempotencyKey, 3)
    Pruner(store, 2).prune()
    assert (count(store, Delivery), count(store, SignIn), count(store, IdempotencyKey)) == (0, 0, keys)
    age(store, IdempotencyKey, 8)
    Pruner(store, 2).prune()
    assert count(store, IdempotencyKey) == 0


def test_a_floor_never_moves_down(store: Store, people: SimpleNamespace, thread: str) -> None:
    """Two workers prune at once, and the slower one comes with an older view."""
    alice = people.alice.participant_id
    age(store, LogEntry, 31)
    cutoff = now_ms() - 30 * DAY
    store.write(lambda s: pruner.prune_log(s, alice, cutoff))
    first = floor(store, alice)
    store.write(lambda s: pruner.prune_log(s, alice, cutoff))
    assert first == 3
    assert floor(store, alice) == 6
