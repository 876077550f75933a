"""A cluster of three real nodes: every hint finds the node of its slot, wherever that is now."""

import time
from collections.abc import Iterator

import pytest
from redis import RedisCluster, RedisError

from realtime.broker_url import links_to
from tests.books import happening
from tests.brokers import Clustered, Valkey, cluster
from tests.hearing import Heard, started
from tests.until import until

LOGS = [f"log-{number}" for number in range(30)]


@pytest.fixture
def clustered() -> Iterator[Clustered]:
    with cluster() as found:
        yield found


@pytest.fixture
def heard(clustered: Clustered) -> Iterator[Heard]:
    with started(clustered.url) as found:
        for log in LOGS:
            assert found.bus.listen(log).wait(5)
        yield found


def hears(heard: Heard, logs: list[str]) -> bool:
    """Hints of all these logs come; hints may be lost, so they are given again and again."""
    heard.rings.clear()

    def come() -> bool:
        for log in logs:
            heard.bus.ring(log, "e1", happening(1))
        return heard.logs >= set(logs)

    return until(come, seconds=30)


def logs_at(clustered: Clustered, heard: Heard, node: Valkey) -> list[str]:
    return [log for log in LOGS if clustered.owner(heard.bus._channel(log)) is node]


def test_every_log_is_heard_wherever_it_lives(clustered: Clustered, heard: Heard) -> None:
    assert all(len(logs_at(clustered, heard, node)) > 3 for node in clustered.nodes), "they live everywhere"
    for log in LOGS:
        heard.bus.ring(log, "e1", happening(1))
    until(lambda: heard.logs == set(LOGS))
    heard.bus.kick("session:1")
    until(lambda: heard.kicks == ["session:1"])
    assert 1 <= heard.gaps <= len(clustered.nodes), "each node's ear may come up in its own time"
    heard.bus.unlisten(LOGS[0])
    assert heard.bus.listen("another").wait(5)
    assert hears(heard, [*LOGS[1:], "another"])
    assert LOGS[0] not in heard.logs
    assert heard.bus.reconnects == heard.bus.dropped == 0


def test_two_workers_hear_each_other(clustered: Clustered, heard: Heard) -> None:
    with started(clustered.url) as other:
        for log in LOGS:
            assert other.bus.listen(log).wait(5)
            heard.bus.ring(log, "e1", happening(1))
        until(lambda: other.logs == set(LOGS))


def test_when_a_node_dies_the_others_go_on_and_when_it_is_back_all_do(clustered: Clustered, heard: Heard) -> None:
    node = clustered.owner("control")
    theirs = logs_at(clustered, heard, node)
    others = [log for log in LOGS if log not in theirs]
    node.kill()
    until(lambda: not heard.bus.healthy)
    assert hears(heard, others)
    assert not heard.bus.healthy
    assert not heard.logs & set(theirs)
    gaps = heard.gaps
    node.start()
    until(lambda: heard.bus.healthy, seconds=60)
    assert hears(heard, LOGS)
    heard.bus.kick("session:1")
    until(lambda: heard.kicks == ["session:1"])
    assert heard.gaps > gaps


def test_a_node_that_vanishes_without_a_word_silences_its_own_slots_only(
    clustered: Clustered, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realtime.ear.QUIET", 0.5)
    node = clustered.owner("control")
    others = [log for log in LOGS if log not in logs_at(clustered, heard, node)]
    with node.paused():
        until(lambda: not heard.bus.healthy, seconds=30)
        until(lambda: heard.bus._listener._lost == {node.address}, seconds=30)
        reconnects = heard.bus.reconnects
        for _ in range(3):
            assert hears(heard, others)
            time.sleep(1)  # as long as it takes to find an ear silent
        assert heard.bus.reconnects == reconnects, "what can be heard is heard on"
    until(lambda: heard.bus.healthy, seconds=60)
    assert hears(heard, LOGS)


def test_a_slot_that_moves_takes_its_hints_with_it(clustered: Clustered, heard: Heard) -> None:
    gaps = heard.gaps
    channels = [heard.bus._channel(LOGS[0]), "control"]
    for channel in channels:
        clustered.move(channel)
    until(lambda: heard.gaps > gaps and heard.bus.healthy, seconds=30)
    assert hears(heard, LOGS)
    heard.bus.kick("session:1")
    until(lambda: "session:1" in heard.kicks)


def test_nodes_are_found_as_long_as_one_of_those_named_answers(clustered: Clustered) -> None:
    links = links_to(clustered.url)
    clustered.nodes[0].kill()
    with clustered.nodes[1].paused():
        assert links.find().all == {node.address for node in clustered.nodes}
    for node in clustered.nodes:
        node.kill()
    with pytest.raises(RedisError, match="no node of the cluster answers"):
        links.find()


def test_the_client_finds_each_key_and_runs_scripts(clustered: Clustered) -> None:
    client = links_to(clustered.url).client()
    for log in LOGS:
        key = f"count:{{{log}}}"
        assert client.eval("return redis.call('INCR', KEYS[1])", 1, key) == 1
        assert clustered.owner(key).ask("GET", key) == b"1"
    for node in clustered.nodes:
        node.kill()
    for _ in range(3):
        with pytest.raises(RedisError):
            client.incr("count:{log-0}")
    with pytest.raises(RedisError):
        links_to(clustered.url).client()
    for node in clustered.nodes:
        node.start()
    until(lambda: clustered.whole, seconds=30)
    until(lambda: counts(client, "count:{log-0}"), seconds=30)


def counts(client: RedisCluster, key: str) -> bool:
    try:
        return client.incr(key) > 0
    except RedisError:
        return False
