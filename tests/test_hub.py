"""All tails of a worker: joining, letting go, and the tick that bounds every loss (DESIGN 5)."""

from collections import Counter
from collections.abc import Collection

import gevent
import pytest
from gevent.event import Event as Flag

from realtime import hub as hub_module
from realtime.event import Head
from realtime.hub import Hub, LogGone
from realtime.stream import Stream
from tests.books import LOG, Book, Watcher, hub_on, ring
from tests.until import until


@pytest.fixture
def book() -> Book:
    return Book()


def stranger(hub: Hub) -> Stream:
    """A stream that has not joined yet."""
    return Stream(hub, LOG, "session:1", None, lambda event: True, "c2")


def test_an_event_that_commits_while_a_stream_joins_is_not_missed(book: Book) -> None:
    """P1, P2: subscribed first, the head read second; what rings in between finds no tail, and is in the head."""
    hub = hub_on(book)
    seen = []

    def heads(logs: Collection[str]) -> dict[str, Head]:
        seen.append(hub.bus._channel(LOG) in hub.bus._confirmed)
        ring(hub, book.write())
        return book.heads(logs)

    hub._heads = heads
    watcher = Watcher(hub, "e1.0")
    until(lambda: watcher.seqs() == [1])
    ring(hub, book.write())
    until(lambda: watcher.seqs() == [1, 2])
    assert seen == [True]


def test_a_second_reader_of_a_log_learns_of_what_the_first_has_not_heard(book: Book) -> None:
    hub = hub_on(book)
    first = Watcher(hub)
    first.wait_for("ready")
    book.write(3)
    second = Watcher(hub, "e1.0")
    until(lambda: first.seqs() == second.seqs() == [1, 2, 3])


def test_what_the_rings_did_not_say_the_tick_finds(book: Book) -> None:
    hub = hub_on(book)
    watcher = Watcher(hub)
    watcher.wait_for("ready")
    book.write(3)
    hub._check_heads()
    until(lambda: watcher.seqs() == [1, 2, 3])


def test_a_gap_that_the_bus_tells_of_is_looked_after_at_once(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "TICK", 3600.0)
    hub = hub_on(book)
    watcher = Watcher(hub)
    watcher.wait_for("ready")
    tick = gevent.spawn(hub._tick)
    book.write(2)
    hub.bus.on_gap()
    until(lambda: watcher.seqs() == [1, 2])
    tick.kill()


def test_the_tick_outlives_a_store_that_is_away(
    book: Book, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hub_module, "TICK", 0.01)
    hub = hub_on(book)
    watcher = Watcher(hub)
    watcher.wait_for("ready")
    tick = gevent.spawn(hub._tick)
    book.write()
    book.trouble = OSError("away")
    until(lambda: "the tick cannot ask the store" in caplog.text)
    book.trouble = None
    until(lambda: watcher.seqs() == [1])
    tick.kill()


def test_all_watched_logs_are_asked_for_at_once_and_none_if_none_is_watched(book: Book) -> None:
    hub = hub_on(book)
    questions: list[list[str]] = []

    def heads(logs: Collection[str]) -> dict[str, Head]:
        questions.append(sorted(logs))
        return {log: Head("e1", 0, 0) for log in logs}

    hub._heads = heads
    hub._check_heads()
    assert questions == []
    for log in ("bob", "olga"):
        hub.bus.listen(log).set()
        stream = Stream(hub, log, "session:1", None, lambda event: True, "c1")
        next(stream.serve())
        hub._tail(log).readers.add(stream)
    questions.clear()
    hub._check_heads()
    assert questions == [["bob", "olga"]]


def test_a_stream_whose_grant_no_longer_holds_ends_within_a_tick(book: Book) -> None:
    revoked: set[str] = set()
    hub = hub_on(book, admitted=lambda grants: set(grants) - revoked)
    alice, bob = Watcher(hub, grant="session:a"), Watcher(hub, grant="key:b")
    until(lambda: alice.frames and bob.frames)
    hub._check_grants()
    revoked.add("session:a")
    hub._check_grants()
    until(lambda: alice.is_over)
    assert alice.frames[-1].json["reason"] == "auth"
    assert hub.streams == {bob.stream}
    bob.leave()


def test_a_log_that_is_gone_ends_its_streams_and_no_others(book: Book) -> None:
    """A person was deleted, and with them whoever was let in to read."""
    hub = hub_on(book)
    there = {LOG, "bob"}
    hub._heads = lambda logs: {log: book.head for log in logs if log in there}
    hub.bus.listen("bob").set()
    alice, bob = Watcher(hub), Stream(hub, "bob", "key:b", None, lambda event: True, "c2")
    alice.wait_for("ready")
    frames = bob.serve()
    next(frames)
    hub._check_heads()
    assert hub.streams == {alice.stream, bob}
    there.remove(LOG)
    hub._check_heads()
    until(lambda: alice.is_over)
    assert (alice.names[-1], alice.frames[-1].json["reason"]) == ("bye", "auth")
    assert hub.streams == {bob}
    frames.close()


@pytest.mark.parametrize("grant", ["session:a", "session:a:operator"])
def test_a_kick_ends_a_stream_by_whatever_right_of_its_grant(book: Book, grant: str) -> None:
    hub = hub_on(book)
    ended, others = Watcher(hub, grant=grant), [Watcher(hub, grant=f"session:{id}:operator") for id in ("ab", "b")]
    until(lambda: ended.frames and all(other.frames for other in others))
    hub.kick("session:a")
    until(lambda: ended.is_over)
    assert hub.streams == {other.stream for other in others}


def test_a_stream_counts_and_may_be_ended_while_it_waits_to_join(book: Book) -> None:
    """A crowd that comes at once would else pass the limit together, and a sign-out would miss it."""
    hub = hub_on(book, most=1)
    book_asks = hub._heads
    may_answer = Flag()
    hub._heads = lambda logs: (may_answer.wait(), book_asks(logs))[1]
    watcher = Watcher(hub)
    until(lambda: hub.streams)
    assert hub.refuses(stranger(hub)) == "limit"
    hub.kick("session:alice")
    may_answer.set()
    until(lambda: watcher.is_over)
    assert (watcher.names, watcher.frames[-1].json["reason"]) == (["ready", "bye"], "auth")
    assert hub.streams == set()


def test_nobody_is_thrown_out_because_the_store_is_away(book: Book) -> None:
    def admitted(grants: Collection[str]) -> Collection[str]:
        raise OSError("away")

    hub = hub_on(book, admitted)
    watcher = Watcher(hub)
    watcher.wait_for("ready")
    with pytest.raises(OSError, match="away"):
        hub._check_grants()
    assert hub.streams == {watcher.stream}


def test_a_log_is_let_go_some_time_after_its_last_reader(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = hub_on(book)
    watcher = Watcher(hub)
    watcher.wait_for("ready")
    monkeypatch.setattr(hub_module, "LINGER", -1.0)
    hub._check_heads()
    assert hub.bus._channel(LOG) in hub.bus._confirmed
    watcher.leave()
    monkeypatch.setattr(hub_module, "LINGER", 30.0)
    hub._check_heads()
    assert hub.bus._channel(LOG) in hub.bus._confirmed, "too soon: a reader who reloads would cost a new subscription"
    monkeypatch.setattr(hub_module, "LINGER", -1.0)
    hub._check_heads()
    assert hub.bus._confirmed == {}


def test_a_log_that_is_watched_again_is_heard_again(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = hub_on(book)
    Watcher(hub).leave()
    monkeypatch.setattr(hub_module, "LINGER", -1.0)
    hub._check_heads()
    hub.bus.listen(LOG).set()
    watcher = Watcher(hub, "e1.0")
    watcher.wait_for("ready")
    ring(hub, book.write())
    until(lambda: watcher.seqs() == [1])


def test_without_the_brokers_confirmation_a_stream_begins_all_the_same(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "CONFIRM", 0.01)
    hub = hub_on(book)
    hub.bus.listen(LOG).clear()
    watcher = Watcher(hub)
    assert watcher.wait_for("ready").id == "e1.0"


def test_a_log_that_does_not_exist_cannot_be_watched_and_leaves_nothing_behind(book: Book) -> None:
    hub = hub_on(book)
    hub.bus.listen("nobody").set()
    stream = Stream(hub, "nobody", "session:1", None, lambda event: True, "c1")
    with pytest.raises(LogGone), hub.watch("nobody", stream):
        pytest.fail("it was watched")
    assert hub.streams == set()
    assert list(hub.bus._confirmed) == [hub.bus._channel(LOG)]


@pytest.mark.parametrize(("most", "full"), [(1, True), (2, False), (0, False)])
def test_a_worker_is_full_at_its_limit_and_zero_is_none(book: Book, most: int, full: bool) -> None:
    hub = hub_on(book, most=most)
    watcher = Watcher(hub)
    watcher.wait_for("ready")
    assert hub.refuses(stranger(hub)) == ("limit" if full else None)
    watcher.leave()
    assert hub.refuses(stranger(hub)) is None


def test_a_hub_that_drains_ends_every_stream(book: Book) -> None:
    hub = hub_on(book)
    watchers = [Watcher(hub) for _ in range(20)]
    until(lambda: all(watcher.frames for watcher in watchers))
    hub.drain()
    until(lambda: all(watcher.is_over for watcher in watchers))
    assert {watcher.names[-1] for watcher in watchers} == {"bye"}
    assert (hub.draining, hub.streams) == (True, set())


def test_a_drain_is_spread_over_the_time_it_is_given(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = hub_on(book)
    watchers = [Watcher(hub) for _ in range(20)]
    until(lambda: all(watcher.frames for watcher in watchers))
    left: list[int] = []
    step = gevent.sleep
    monkeypatch.setattr(hub_module.gevent, "sleep", lambda seconds: (left.append(len(hub.streams)), step(seconds)))
    hub.drain(1.0)
    monkeypatch.undo()
    assert len(set(left)) >= 10
    until(lambda: all(watcher.is_over for watcher in watchers))
    assert len({watcher.frames[-1].json["retry_ms"] for watcher in watchers}) > 10


def test_a_crowd_is_let_in_a_few_at_a_turn_so_that_others_have_theirs(book: Book) -> None:
    hub = hub_on(book)
    turns: list[int] = []
    let_in: list[int] = []

    def join() -> None:
        hub.wait_turn()
        let_in.append(len(turns))

    def somebody_else() -> None:
        while len(let_in) < 100:
            turns.append(1)
            gevent.sleep(0)

    gevent.joinall([*(gevent.spawn(join) for _ in range(100)), gevent.spawn(somebody_else)], timeout=10)
    assert max(Counter(let_in).values()) <= 2 * hub_module.TURNS
    assert let_in == sorted(let_in)
    assert len(set(let_in)) >= 25


def test_a_new_stream_of_a_page_ends_the_one_before_and_no_other(book: Book) -> None:
    hub = hub_on(book)
    older, other, stranger = Watcher(hub, page="p1"), Watcher(hub, page="p2"), Watcher(hub, page="p1", owner="bob")
    until(lambda: older.frames and other.frames and stranger.frames)
    gevent.sleep(0.002)  # the next millisecond
    newer = Watcher(hub, page="p1")
    newer.wait_for("ready")  # and nobody waits for the broker to bring the word
    until(lambda: older.is_over)
    assert older.frames[-1].json["reason"] == "rotate"
    assert hub.streams == {other.stream, stranger.stream, newer.stream}


def test_a_page_that_has_a_stream_here_stays_counted(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = hub_on(book)
    forgotten: list[Stream] = []
    monkeypatch.setattr(hub.census, "forget", forgotten.append)
    first, refused = Watcher(hub, page="p1"), Stream(hub, LOG, "g", None, lambda event: True, "c2", "alice", "p1")
    first.wait_for("ready")
    hub.draining = True
    assert hub.refuses(refused) == "drain"
    assert forgotten == []
    first.leave()
    assert forgotten == [first.stream]


def test_a_word_of_an_older_stream_ends_no_newer_one(book: Book) -> None:
    """Words may come late: the page has moved on since."""
    hub = hub_on(book)
    newer = Watcher(hub, page="p1")
    newer.wait_for("ready")
    hub.bus.on_page(newer.stream.page, newer.stream.opened_ms - 5)
    gevent.idle()
    assert hub.streams == {newer.stream}


def test_a_stream_that_joins_while_the_hub_drains_is_ended_too(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = hub_on(book)
    confirmed = hub.bus.listen(LOG)
    confirmed.clear()
    watcher = Watcher(hub)
    gevent.idle()
    hub.drain()
    confirmed.set()
    until(lambda: watcher.is_over)
    assert watcher.frames[-1].json["reason"] == "drain"


def test_a_log_that_is_let_go_while_a_stream_joins_is_listened_to_again(book: Book) -> None:
    hub = hub_on(book)
    confirmed = hub.bus.listen(LOG)
    confirmed.clear()
    watcher = Watcher(hub)
    gevent.idle()
    hub.bus.unlisten(LOG)
    confirmed.set()
    watcher.wait_for("ready")
    assert hub.bus._channel(LOG) in hub.bus._confirmed
