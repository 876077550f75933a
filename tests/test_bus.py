"""Hints by pub/sub, with a real Valkey: they arrive, their loss is told of, and nobody waits for them."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gevent
import msgspec
import pytest
import redis
from gevent.pool import Group

import services
from realtime import bus as bus_module
from realtime.bus import Bus
from realtime.event import Event
from tests.books import LOG, happening
from tests.until import until


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    try:
        yield services.start_broker(tmp_path_factory.mktemp("broker"))
    finally:
        services.stop()


class Heard:
    """A bus, and what it has heard."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.rings: list[tuple[str, str, int, bytes]] = []
        self.kicks: list[str] = []
        self.gaps = 0
        bus.on_ring, bus.on_kick, bus.on_gap = self.ring, self.kicks.append, self.gap

    def ring(self, log: str, epoch: str, event: Event) -> None:
        self.rings.append((log, epoch, event.seq, bytes(event.data)))

    def gap(self) -> None:
        self.gaps += 1

    @property
    def seqs(self) -> list[int]:
        return [seq for _, _, seq, _ in self.rings]


@contextmanager
def started(url: str, prefix: str = "") -> Iterator[Heard]:
    """A bus that runs until the test is over."""
    tasks, heard = Group(), Heard(Bus(url, prefix))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gevent, "spawn", tasks.spawn)  # a bus lives as long as its worker, so it has no stop of its own
        heard.bus.start()
    try:
        until(lambda: heard.bus.healthy)
        yield heard
    finally:
        tasks.kill()


@pytest.fixture
def heard(url: str) -> Iterator[Heard]:
    with started(url) as found:
        assert found.bus.listen(LOG).wait(5)
        yield found


def client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url)


def broker_pid(url: str) -> int:
    with client(url) as connection:
        return int(connection.info("server")["process_id"])


@contextmanager
def paused(url: str) -> Iterator[None]:
    """The broker is there but does nothing, like a machine that has vanished."""
    pid = broker_pid(url)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def publish(url: str, channel: str, said: bytes) -> None:
    with client(url) as connection:
        assert connection.publish(channel, said) == 1


def test_a_ring_arrives_as_it_was_sent(heard: Heard) -> None:
    heard.bus.ring(LOG, "e1", happening(7))
    until(lambda: heard.rings)
    assert heard.rings == [(LOG, "e1", 7, b'{"seq": 7}')]


def test_many_rings_arrive_in_order(heard: Heard) -> None:
    for seq in range(1, 1001):
        heard.bus.ring(LOG, "e1", happening(seq))
    until(lambda: len(heard.rings) == 1000)
    assert heard.seqs == list(range(1, 1001))


def test_only_the_logs_that_are_listened_to_are_heard(heard: Heard) -> None:
    assert heard.bus.listen("bob").wait(5)
    heard.bus.unlisten(LOG)
    for log in (LOG, "charlie", "bob"):
        heard.bus.ring(log, "e1", happening(1))
    until(lambda: heard.rings)
    assert [log for log, *_ in heard.rings] == ["bob"]


@pytest.mark.parametrize("log", ["a:b", "*", "a?", "[ab]", "{x}", "a}b", "ü", "a\nb", "a b", "sse:{alice}"])
def test_a_log_of_whatever_name_is_heard_by_that_name_alone(heard: Heard, log: str) -> None:
    """S6."""
    assert heard.bus.listen(log).wait(5)
    heard.bus.ring(log, "e1", happening(1))
    heard.bus.ring(LOG, "e1", happening(2))
    until(lambda: len(heard.rings) == 2)
    assert [(name, seq) for name, _, seq, _ in heard.rings] == [(log, 1), (LOG, 2)]


def test_a_prefix_keeps_two_deployments_on_one_broker_apart(url: str) -> None:
    with started(url, "blue:") as blue, started(url, "green:") as green:
        assert blue.bus.listen(LOG).wait(5)
        assert green.bus.listen(LOG).wait(5)
        blue.bus.ring(LOG, "e1", happening(1))
        blue.bus.kick("session:1")
        green.bus.ring(LOG, "e1", happening(2))
        until(lambda: blue.rings and blue.kicks and green.rings)
        assert (blue.seqs, green.seqs, green.kicks) == ([1], [2], [])


def test_a_kick_reaches_every_worker(url: str) -> None:
    with started(url) as here, started(url) as there:
        here.bus.kick("session:1")
        until(lambda: here.kicks == there.kicks == ["session:1"])


@pytest.mark.parametrize(
    "said", [b"", b"{", b"[]", b"null", b'{"epoch":"e1"}', b'{"seq":"x"}', b"\xff", b"data: {}\n\n"]
)
def test_a_malformed_hint_is_passed_over(heard: Heard, url: str, said: bytes, caplog: pytest.LogCaptureFixture) -> None:
    publish(url, heard.bus._channel(LOG), said)
    publish(url, "control", said)
    heard.bus.ring(LOG, "e1", happening(1))
    until(lambda: heard.rings)
    assert heard.seqs == [1]
    assert "malformed hint" in caplog.text
    assert heard.bus.healthy


def test_a_worker_holds_one_subscribed_connection_however_many_logs_it_hears(heard: Heard, url: str) -> None:
    """P16."""
    for number in range(200):
        assert heard.bus.listen(f"log-{number}").wait(5)
    with client(url) as connection:
        assert len(connection.client_list(_type="pubsub")) == 1
        assert len(connection.pubsub_channels("sse:*")) == 201


def test_a_connection_that_is_cut_subscribes_anew_and_says_so(heard: Heard, url: str) -> None:
    """R2. redis-py's own reconnect is silent, and what was said meanwhile would be missed without a word."""
    assert heard.bus.listen("bob").wait(5)
    for _ in range(3):
        gaps = heard.gaps
        with client(url) as connection:
            assert connection.execute_command("CLIENT", "KILL", "TYPE", "pubsub") == 1
        until(lambda gaps=gaps: heard.gaps > gaps and heard.bus.healthy)
        assert heard.bus.listen(LOG).wait(5)
        assert heard.bus.listen("bob").wait(5)
    heard.bus.ring(LOG, "e1", happening(1))
    heard.bus.ring("bob", "e1", happening(2))
    until(lambda: heard.seqs == [1, 2])


def test_a_log_that_is_asked_for_while_the_broker_is_away_is_heard_once_it_is_back(heard: Heard, url: str) -> None:
    """R1."""
    os.kill(broker_pid(url), signal.SIGKILL)
    until(lambda: not heard.bus.healthy)
    flag = heard.bus.listen("bob")
    until(lambda: heard.bus.healthy)
    assert flag.wait(5)
    heard.bus.ring("bob", "e1", happening(1))
    until(lambda: 1 in heard.seqs)


def test_a_log_that_is_let_go_and_wanted_again_is_heard(heard: Heard, url: str) -> None:
    for number in range(100):
        log = f"log-{number}"
        heard.bus.listen(log)
        heard.bus.unlisten(log)
        assert heard.bus.listen(log).wait(5)
    for number in range(100):
        heard.bus.ring(f"log-{number}", "e1", happening(number + 1))
    until(lambda: len(heard.rings) >= 100)
    assert sorted(heard.seqs) == list(range(1, 101))


def test_an_unsubscription_that_overtakes_the_new_subscription_is_made_good(heard: Heard, url: str) -> None:
    """Two greenlets send at once; whoever wants the log again must not be the one who loses."""
    with client(url) as connection:
        for _ in range(20):
            gaps = heard.gaps
            heard.bus._send("UNSUBSCRIBE", [heard.bus._channel(LOG)])
            until(lambda gaps=gaps: heard.gaps > gaps)  # for a moment nothing was heard, and the tick looks after it
            assert connection.pubsub_numsub(heard.bus._channel(LOG)) == [(heard.bus._channel(LOG).encode(), 1)]
    heard.bus.ring(LOG, "e1", happening(1))
    until(lambda: heard.seqs == [1])


def test_a_log_that_is_let_go_for_good_is_not_subscribed_again(heard: Heard, url: str) -> None:
    channel = heard.bus._channel(LOG)
    heard.bus.unlisten(LOG)
    assert heard.bus.listen("bob").wait(5)  # so that the answer to the first has come
    with client(url) as connection:
        assert connection.pubsub_numsub(channel) == [(channel.encode(), 0)]
    assert heard.bus.healthy


def test_whatever_breaks_one_hint_the_next_gets_through(
    heard: Heard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bus_module, "BREAK", 0.01)
    publish_batch, troubles = heard.bus._publish_batch, [ZeroDivisionError("a mistake"), ValueError("another")]

    def publish(batch: Any) -> None:
        if troubles:
            raise troubles.pop(0)
        publish_batch(batch)

    monkeypatch.setattr(heard.bus, "_publish_batch", publish)
    for seq in (1, 2, 3):
        heard.bus.ring(LOG, "e1", happening(seq))
        until(lambda: heard.bus._queue.empty())
    until(lambda: heard.rings)
    assert heard.seqs == [3]
    assert caplog.text.count("cannot publish") == 2


def test_ringing_waits_for_nobody_when_the_broker_is_paused(heard: Heard, url: str) -> None:
    """R3."""
    with paused(url):
        started_at = time.monotonic()
        for seq in range(1, 2001):
            heard.bus.ring(LOG, "e1", happening(seq))
        assert time.monotonic() - started_at < 0.5
    until(lambda: 2000 in heard.seqs)


def test_hints_that_nobody_takes_are_dropped_and_never_pile_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bus_module, "QUEUED", 10)
    bus = Bus("redis://127.0.0.1:1")
    for seq in range(20):
        bus.ring(LOG, "e1", happening(seq))
    assert bus._queue.qsize() == 10
    assert caplog.text.count("dropping one") == 10


def test_a_broker_that_is_silent_is_noticed_and_left(heard: Heard, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """R4: a connection may be dead without knowing it."""
    monkeypatch.setattr(bus_module, "QUIET", 0.1)
    monkeypatch.setattr(bus_module, "ANSWER", 0.3)
    with started(url) as quick, paused(url):
        until(lambda: not quick.bus.healthy)
    until(lambda: heard.bus.healthy)


def test_a_quiet_broker_that_answers_is_not_left(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_module, "QUIET", 0.05)
    monkeypatch.setattr(bus_module, "ANSWER", 0.2)
    with started(url) as quick:
        connection = quick.bus._connection
        last = quick.bus._last_heard
        until(lambda: quick.bus._last_heard > last)
        assert quick.bus._connection is connection
        assert quick.gaps == 1


def test_data_travels_without_being_read(heard: Heard) -> None:
    strange = msgspec.Raw(b'{"text":"\xe2\x80\xa8","n":1e400}')
    heard.bus.ring(LOG, "e1", Event(1, "message", "t1", strange))
    until(lambda: heard.rings)
    assert heard.rings[0][3] == bytes(strange)
