"""A master, a replica and three sentinels, all real: hints follow the master (R7)."""

from collections.abc import Iterator

import pytest
from redis import RedisError

from realtime.broker_url import links_to
from tests.books import LOG, happening
from tests.brokers import Guarded, sentinels
from tests.hearing import Heard, started
from tests.until import until


@pytest.fixture
def guarded() -> Iterator[Guarded]:
    with sentinels() as found:
        yield found


@pytest.fixture
def heard(guarded: Guarded) -> Iterator[Heard]:
    with started(guarded.url) as found:
        assert found.bus.listen(LOG).wait(5)
        yield found


def rings(heard: Heard) -> bool:
    """A hint that is given now comes back; hints may be lost, so it is given again and again."""
    before = len(heard.rings)

    def come() -> bool:
        heard.bus.ring(LOG, "e1", happening(1))
        return len(heard.rings) > before

    return until(come, seconds=30)


def hears_at(heard: Heard, port: int) -> bool:
    """All of this worker's connections that hear are at that port."""
    return heard.bus.healthy and {node[1] for node in heard.bus._listener._ears} == {port}


def test_hints_follow_the_master_to_another_machine_and_stay_there(guarded: Guarded, heard: Heard) -> None:
    """The old master comes back as a replica, which would take hints and pass them on to nobody."""
    assert rings(heard)
    flag = heard.bus.listen(LOG)
    with guarded.master.paused():
        assert rings(heard)
        until(lambda: hears_at(heard, guarded.replica.port), seconds=60)
        assert guarded.named() == guarded.replica.port
    until(lambda: guarded.master.ask("ROLE")[0] == b"slave", seconds=30)
    assert rings(heard)
    assert hears_at(heard, guarded.replica.port)
    assert flag.is_set()
    assert heard.gaps >= 2


def test_a_failover_that_cuts_nobody_off_is_noticed_all_the_same(
    guarded: Guarded, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old master is well, and answers; only the sentinels say that it is another one now."""
    monkeypatch.setattr("realtime.listener.QUIET", 0.5)
    guarded.replica.ask("REPLICAOF", "NO", "ONE")
    for sentinel in guarded.sentinels:
        sentinel.ask("SENTINEL", "REMOVE", "main")
        sentinel.ask("SENTINEL", "MONITOR", "main", *guarded.replica.address, 2)
    until(lambda: hears_at(heard, guarded.replica.port), seconds=30)
    assert rings(heard)
    assert heard.bus.probe_failures == 0, "it was not left for its silence"


def test_a_failover_that_was_ordered_is_followed(guarded: Guarded, heard: Heard) -> None:
    guarded.sentinels[0].ask("SENTINEL", "FAILOVER", "main")
    until(lambda: hears_at(heard, guarded.replica.port), seconds=60)
    assert rings(heard)


def test_a_sentinel_that_is_silent_is_passed_over(guarded: Guarded) -> None:
    links = links_to(guarded.url)
    guarded.sentinels[1].kill()
    with guarded.sentinels[0].paused():
        assert links.find().all == {guarded.master.address}
        assert links.find().all == {guarded.master.address}


def test_without_sentinels_that_answer_what_is_heard_is_heard_on(guarded: Guarded, heard: Heard) -> None:
    for sentinel in guarded.sentinels:
        sentinel.kill()
    assert rings(heard)
    with pytest.raises(RedisError, match="no sentinel knows the master of main"):
        heard.bus.links.find()
    heard.bus._listener._look()
    assert rings(heard)
    assert heard.bus.reconnects == 0


def test_a_server_that_is_no_master_is_not_taken_for_one(guarded: Guarded) -> None:
    with pytest.raises(RedisError, match="is not the master"):
        links_to(guarded.url).connect(guarded.replica.address)


def test_the_client_follows_the_master_too(guarded: Guarded) -> None:
    client = links_to(guarded.url).client()
    assert client.eval("return redis.call('INCR', KEYS[1])", 1, "{alice}count") == 1
    until(lambda: guarded.replica.ask("GET", "{alice}count") == b"1")
    guarded.master.kill()

    def counts() -> bool:
        try:
            return client.incr("{alice}count") > 1
        except RedisError:
            return False

    assert until(counts, seconds=30)
