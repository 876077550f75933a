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
from redis import Redis

import services
from realtime import ear, publisher
from realtime.bus import Bus
from realtime.event import Event
from tests.books import LOG, happening
from tests.hearing import Heard, started
from tests.until import until


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    try:
        yield services.start_broker(tmp_path_factory.mktemp("broker"))
    finally:
        services.stop()


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


POUR = "for _ = 1, tonumber(ARGV[2]) do redis.call('PUBLISH', KEYS[1], ARGV[1]) end"


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


def test_an_unsubscription_that_nobody_asked_for_is_made_good(heard: Heard, url: str) -> None:
    with client(url) as connection:
        for _ in range(3):
            gaps = heard.gaps
            [node] = heard.bus._listener._ears.values()
            node._orders.put(("UNSUBSCRIBE", heard.bus._channel(LOG)))
            until(lambda gaps=gaps: heard.gaps > gaps)  # for a moment nothing was heard, and the tick looks after it
            assert heard.bus.listen(LOG).wait(5)
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
    monkeypatch.setattr(publisher, "BREAK", 0.01)
    found = heard.bus._publisher
    tell, troubles = found._tell, [ZeroDivisionError("a mistake"), ValueError("another")]

    def fail_twice(*hints: Any) -> None:
        if troubles:
            raise troubles.pop(0)
        tell(*hints)

    monkeypatch.setattr(found, "_tell", fail_twice)
    for seq in (1, 2, 3):
        heard.bus.ring(LOG, "e1", happening(seq))
        until(lambda: found._queue.empty())
    until(lambda: heard.rings)
    assert heard.seqs == [3]
    assert caplog.text.count("cannot publish") == 1, "once is enough"


def test_ringing_waits_for_nobody_when_the_broker_is_paused(heard: Heard, url: str) -> None:
    """R3."""
    with paused(url):
        began, somebody = time.monotonic(), gevent.spawn(lambda: None)
        for seq in range(1, 2001):
            heard.bus.ring(LOG, "e1", happening(seq))
        assert not somebody.ready(), "the loop had its turn meanwhile: there was a wait"
        assert time.monotonic() - began < 10, "nor did the loop itself stand still"
    until(lambda: 2000 in heard.seqs)


def test_hints_that_nobody_takes_are_dropped_and_never_pile_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(publisher, "QUEUED", 10)
    bus = Bus("redis://127.0.0.1:1")
    for seq in range(20):
        bus.ring(LOG, "e1", happening(seq))
    assert bus._publisher._queue.qsize() == 10
    assert bus.dropped == 10
    assert caplog.text.count("dropping") == 1, "once is enough"


def test_a_broker_that_is_silent_is_noticed_and_left(heard: Heard, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """R4: a connection may be dead without knowing it."""
    monkeypatch.setattr(ear, "QUIET", 0.1)
    monkeypatch.setattr(ear, "DOUBT", 0.1)
    with started(url) as quick:
        with paused(url):
            until(lambda: not quick.bus.hearing)
            assert not quick.bus.healthy
            until(lambda: quick.bus.probe_failures == 1)
        until(lambda: quick.bus.healthy)
        assert quick.bus.reconnects == 1
    until(lambda: heard.bus.healthy)


def test_a_silent_broker_is_left_within_twelve_seconds() -> None:
    assert ear.QUIET + ear.DOUBT + ear.ANSWER <= 12


def test_a_quiet_broker_that_answers_is_not_left(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ear, "QUIET", 0.05)
    with started(url) as quick, Redis.from_url(url) as redis:
        before = said(redis)
        until(lambda: said(redis) > before + 2)
        assert quick.bus.healthy
        assert quick.bus.reconnects == quick.bus.probe_failures == 0
        assert quick.gaps == 1
        assert quick.bus.published == 0, "probes are no hints"


def said(redis: Redis) -> int:
    """How much was ever published on this broker, probes among it."""
    return int(redis.info("commandstats").get("cmdstat_publish", {"calls": 0})["calls"])


def test_data_travels_without_being_read(heard: Heard) -> None:
    strange = msgspec.Raw(b'{"text":"\xe2\x80\xa8","n":1e400}')
    heard.bus.ring(LOG, "e1", Event(1, "message", "t1", strange))
    until(lambda: heard.rings)
    assert heard.rings[0][3] == bytes(strange)


def test_what_was_subscribed_is_subscribed_anew_at_once_and_told_of_once(heard: Heard, url: str) -> None:
    """5,000 logs: no command is huge, and the tick is run once, not 5,000 times."""
    flags = [heard.bus.listen(f"log-{number}") for number in range(5000)]
    for flag in flags:
        assert flag.wait(30)
    assert heard.gaps == 1, "who begins to listen has missed nothing"
    with client(url) as connection:
        connection.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        until(lambda: heard.bus.reconnects == 1)
        until(lambda: heard.bus.healthy and heard.gaps > 1)
        assert all(flag.is_set() for flag in flags), "all are confirmed before it is told of"
        assert len(connection.pubsub_channels("sse:*")) == 5001
    assert heard.gaps == 2
    for number in range(5000):
        heard.bus.ring(f"log-{number}", "e1", happening(1))
    until(lambda: len(heard.logs) == 5000)


def test_a_confirmation_that_comes_twice_is_told_of_once_however_many_do(heard: Heard) -> None:
    """Somebody between us and the broker has connected anew, and said nothing of it."""
    for number in range(1000):
        assert heard.bus.listen(f"log-{number}").wait(5)
    [node] = heard.bus._listener._ears.values()
    for number in range(1000):
        node.subscribe(heard.bus._channel(f"log-{number}"))
    until(lambda: heard.gaps > 1)
    heard.bus.ring(LOG, "e1", happening(1))
    until(lambda: heard.rings)
    assert heard.gaps < 10
    assert heard.bus.reconnects == 0


def test_a_broker_that_cuts_a_slow_listener_off_is_heard_again(heard: Heard, url: str) -> None:
    """R6: its output buffer for us is full."""
    with client(url) as connection:
        connection.config_set("client-output-buffer-limit", "pubsub 64kb 32kb 1")
        # 50 MB in one go, before we are given a turn to read.
        connection.eval(POUR, 1, heard.bus._channel(LOG), b"x" * 100_000, 500)
        until(lambda: heard.bus.reconnects >= 1, 30)
        until(lambda: heard.bus.healthy and heard.gaps > 1, 30)
        connection.config_set("client-output-buffer-limit", "pubsub 32mb 8mb 60")
    assert heard.bus.listen(LOG).wait(5)
    heard.bus.ring(LOG, "e1", happening(1))
    until(lambda: heard.seqs == [1])


def test_subscriptions_go_out_while_hints_pour_in(heard: Heard, url: str) -> None:
    """The broker takes no more of our words before we have read some of its own: neither may wait for the other."""
    with client(url) as connection:
        connection.config_set("client-output-buffer-limit", "pubsub 0 0 0")
        pour = gevent.spawn(pour_into, connection, heard.bus._channel(LOG))
        flags = [heard.bus.listen(f"log-{number}-{'x' * 1000}") for number in range(5000)]
        for flag in flags:
            assert flag.wait(60)
        pour.kill()
        connection.config_set("client-output-buffer-limit", "pubsub 32mb 8mb 60")
    assert heard.bus.reconnects == 0


def pour_into(connection: redis.Redis, channel: str) -> None:
    while True:
        connection.publish(channel, b"x" * 1_000_000)


def test_a_broker_that_is_full_or_emptied_takes_nothing_from_anyone(heard: Heard, url: str) -> None:
    """R8."""
    with client(url) as connection:
        connection.flushall()
        connection.config_set("maxmemory", 1)
        with pytest.raises(redis.RedisError, match="maxmemory"):
            connection.set("x", 1)
        assert heard.bus.listen("bob").wait(5)
        for log in (LOG, "bob"):
            heard.bus.ring(log, "e1", happening(1))
        until(lambda: heard.logs == {LOG, "bob"})
        connection.config_set("maxmemory", 0)
    assert heard.bus.healthy
    assert heard.bus.reconnects == heard.bus.dropped == 0


def test_a_bus_that_hears_but_is_not_heard_says_so(heard: Heard, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "BREAK", 0.05)
    monkeypatch.setattr(ear, "QUIET", 100.0)
    with client(url) as connection:
        connection.execute_command("ACL", "SETUSER", "default", "-publish")
        heard.bus.ring(LOG, "e1", happening(1))
        until(lambda: not heard.bus.publishing)
        assert heard.bus.hearing
        assert not heard.bus.healthy
        assert heard.bus.dropped > 0
        connection.execute_command("ACL", "SETUSER", "default", "+publish")
    until(lambda: heard.bus.healthy)  # by itself: hints may be long in coming
    heard.bus.ring(LOG, "e1", happening(2))
    until(lambda: heard.seqs == [2])


def test_what_waits_to_be_said_is_bounded_in_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "QUEUED_BYTES", 1000)
    bus = Bus("redis://127.0.0.1:1")
    for seq in range(1, 101):
        bus.ring(LOG, "e1", happening(seq))
    waiting = bus._publisher._queue.qsize()
    assert 5 < waiting < 20
    assert bus.dropped == 100 - waiting
    assert sum(len(said) for _, said in bus._publisher._batch()) <= 1000
    bus.ring(LOG, "e1", happening(1))
    assert bus._publisher._queue.qsize() == 1, "there is room again"


def test_what_was_said_and_lost_is_counted(heard: Heard) -> None:
    published = heard.bus.published
    for seq in range(1, 11):
        heard.bus.ring(LOG, "e1", happening(seq))
    until(lambda: len(heard.rings) == 10)
    assert heard.bus.published >= published + 10
    assert heard.bus.dropped == 0


def test_no_password_is_ever_told(caplog: pytest.LogCaptureFixture) -> None:
    bus = Bus("redis://user:hush@127.0.0.1:1")
    tasks = [gevent.spawn(bus._listener.run), gevent.spawn(bus._publisher.run)]
    bus.ring(LOG, "e1", happening(1))
    until(lambda: "lost the broker" in caplog.text and "cannot publish" in caplog.text)
    gevent.killall(tasks)
    assert "hush" not in caplog.text
    assert not bus.healthy
