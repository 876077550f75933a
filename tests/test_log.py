"""The log: gapless, ordered, and shown as things are now (DESIGN 4 and 5)."""

import json
from types import SimpleNamespace

import gevent
import pytest

from chat import log, threads
from chat.models import LogEntry, Participant
from chat.store import Store
from realtime.event import Page
from tests.acts import call, newest_run, open_thread, say, spoken, told


@pytest.fixture
def thread(store: Store, people: SimpleNamespace) -> str:
    return open_thread(store, people.alice)


def after(store: Store, participant_id: str, seq: int, limit: int = 200) -> Page | None:
    return store.read(lambda s: log.after(s, participant_id, seq, limit))


def prune(store: Store, participant_id: str, floor: int) -> None:
    """As the pruner would: move the floor up and remove what lies below."""

    def work(session) -> None:  # type: ignore[no-untyped-def]
        session.get_one(Participant, participant_id).floor = floor
        session.query(LogEntry).filter(LogEntry.participant_id == participant_id, LogEntry.seq <= floor).delete()

    store.write(work)


def test_eight_writers_at_once_leave_no_gap_and_no_double(store: Store, people: SimpleNamespace, thread: str) -> None:
    def write(name: int) -> None:
        for number in range(10):
            say(store, people.alice, thread, f"{name}.{number}")

    gevent.joinall([gevent.spawn(write, name) for name in range(8)], raise_error=True)
    seqs = [seq for seq, _, _ in told(store, people.alice.participant_id)]
    assert seqs == list(range(1, 2 * 80 + 2))
    rung = [event.seq for _, _, event in store.rung]  # type: ignore[attr-defined]
    # PostgreSQL lets the next one go on before it tells us: then two rings may pass each other, which tails mend.
    in_order = rung if store.url.startswith("sqlite") else sorted(rung)
    assert in_order == seqs, "commit order is seq order"


def test_logs_do_not_count_together(store: Store, people: SimpleNamespace, thread: str) -> None:
    theirs = open_thread(store, people.bob)
    say(store, people.alice, thread)
    say(store, people.bob, theirs)
    for who in (people.alice, people.bob):
        assert [(seq, kind) for seq, kind, _ in told(store, who.participant_id)] == [
            *((1, "thread"), (2, "message"), (3, "run")),
        ]


def test_a_reader_gets_what_lies_behind_its_seq_up_to_a_limit(
    store: Store, people: SimpleNamespace, thread: str
) -> None:
    for _ in range(3):
        say(store, people.alice, thread)
    alice = people.alice.participant_id
    for seq, limit, expected in ((0, 200, range(1, 8)), (3, 200, range(4, 8)), (3, 2, range(4, 6)), (7, 200, range(0))):
        page = after(store, alice, seq, limit)
        assert page is not None
        assert [event.seq for event in page.events] == list(expected)
        assert page.head.seq == 7


def test_a_thing_is_shown_as_it_is_now_not_as_it_was(store: Store, people: SimpleNamespace, thread: str) -> None:
    say(store, people.alice, thread)
    run = newest_run(store, thread)["id"]
    call(store, people.agent, {"thread_id": thread, "run_id": run, **spoken()})
    runs = [
        (data["change"], data["status"]) for _, kind, data in told(store, people.alice.participant_id) if kind == "run"
    ]
    assert runs == [("created", "success"), ("updated", "success")]
    shown = [data for _, kind, data in told(store, people.alice.participant_id) if kind == "thread"]
    assert shown[0]["unread"] == 1
    assert shown[0]["last_message"]["text"] == "Hello!"


def test_what_is_rung_is_what_is_read_if_nothing_came_in_between(
    store: Store, people: SimpleNamespace, thread: str
) -> None:
    say(store, people.alice, thread, client_id="c1", data={"a": [1, None]})
    page = after(store, people.alice.participant_id, 0)
    assert page is not None
    read = {event.seq: bytes(event.data) for event in page.events}
    rung = {event.seq: bytes(event.data) for _, _, event in store.rung}  # type: ignore[attr-defined]
    assert rung[2] == read[2]
    assert rung[3] == read[3]


def test_what_has_been_deleted_is_told_as_deleted_and_leaves_no_gap(
    store: Store, people: SimpleNamespace, thread: str
) -> None:
    message = say(store, people.alice, thread)
    store.write(lambda s: threads.delete(s, people.alice, thread))
    events = told(store, people.alice.participant_id)
    assert [seq for seq, _, _ in events] == [1, 2, 3, 4]
    assert events[1] == (2, "message", {"rev": 4, "id": message["id"], "thread_id": thread, "change": "deleted"})
    assert {data["change"] for _, _, data in events} == {"deleted"}
    assert {data["thread_id"] for _, _, data in events} == {thread}


def test_what_counts_others_says_as_of_when(store: Store, people: SimpleNamespace, thread: str) -> None:
    """A thread told late has counted the messages that are told after it: a reader must not count them twice."""
    for key in ("k1", "k2"):
        call(store, people.agent, {"thread_id": thread, **spoken()}, key)
    kind, shown = told(store, people.alice.participant_id)[0][1:]
    assert (kind, shown["unread"], shown["rev"]) == ("thread", 2, 3)
    [(_, _, event)] = store.rung[:1]  # type: ignore[attr-defined]
    assert json.loads(bytes(event.data))["rev"] == 1


def test_below_the_floor_nothing_can_be_told_without_a_gap(store: Store, people: SimpleNamespace, thread: str) -> None:
    """P9."""
    say(store, people.alice, thread)
    alice = people.alice.participant_id
    prune(store, alice, 2)
    assert after(store, alice, 0) is None
    assert after(store, alice, 1) is None
    page = after(store, alice, 2)
    assert page is not None
    assert [event.seq for event in page.events] == [3]
    assert store.peek(lambda s: log.heads(s, [alice]))[alice].floor == 2


def test_a_hole_is_never_jumped(store: Store, people: SimpleNamespace, thread: str) -> None:
    say(store, people.alice, thread)
    alice = people.alice.participant_id
    store.write(lambda s: s.query(LogEntry).filter_by(participant_id=alice, seq=2).delete())
    assert after(store, alice, 1) is None


def test_a_log_that_does_not_exist_has_no_head_and_no_page(store: Store, people: SimpleNamespace) -> None:
    alice = people.alice.participant_id
    assert after(store, "nobody", 0) is None
    assert set(store.peek(lambda s: log.heads(s, [alice, "nobody"]))) == {alice}
    assert store.peek(lambda s: log.heads(s, [])) == {}


def test_every_life_of_a_log_has_a_name_of_its_own() -> None:
    assert len({log.new_epoch() for _ in range(1000)}) == 1000


def test_after_a_restore_every_log_begins_a_new_life_at_the_same_seq(store: Store, people: SimpleNamespace) -> None:
    logs = [who.participant_id for who in (people.alice, people.bob, people.charlie)]
    before = store.read(lambda s: log.heads(s, logs))
    assert log.rotate_epochs(store, batch=3) == 4
    after = store.read(lambda s: log.heads(s, logs))
    assert {name: head.seq for name, head in after.items()} == {name: head.seq for name, head in before.items()}
    assert not {head.epoch for head in after.values()} & {head.epoch for head in before.values()}
