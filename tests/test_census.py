"""Streams counted over all workers, by a real broker, and without one (DESIGN 7)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import gevent
import pytest
from redis import Redis

from realtime import census as census_module
from realtime.broker_url import links_to
from realtime.census import Census
from services import start_broker, stop
from tests.until import until


@dataclass(frozen=True)
class Open:
    owner: str
    member: str


def streams(owner: str, *members: int) -> list[Open]:
    return [Open(owner, f"c{member}") for member in members]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    try:
        yield Redis.from_url(start_broker(tmp_path_factory.mktemp("broker")))
    finally:
        stop()


@pytest.fixture
def workers(broker: Redis) -> list[Census]:
    broker.flushall()
    return [Census(lambda: broker, "test:", 3) for _ in range(2)]


def test_the_cap_counts_over_all_workers_and_each_user_alone(workers: list[Census]) -> None:
    one, two = workers
    assert all(one.admits(stream, []) for stream in streams("alice", 1, 2))
    assert two.admits(Open("alice", "c3"), [])
    assert not two.admits(Open("alice", "c4"), [])
    assert not one.admits(Open("alice", "c4"), streams("alice", 1, 2))
    assert one.admits(Open("bob", "c5"), streams("alice", 1, 2))


def test_a_stream_that_ends_makes_room(workers: list[Census]) -> None:
    one, two = workers
    for stream in streams("alice", 1, 2, 3):
        one.admits(stream, [])
    one.forget(Open("alice", "c2"))
    until(lambda: two.admits(Open("alice", "c4"), []))


def test_a_page_that_comes_back_counts_once(workers: list[Census]) -> None:
    """Its old stream may not have been missed yet, by this worker or another."""
    one, two = workers
    for stream in streams("alice", 1, 2, 3):
        one.admits(stream, [])
    assert two.admits(Open("alice", "c2"), [])
    assert one.admits(Open("alice", "c2"), streams("alice", 1, 2, 3))


def test_what_nobody_renews_is_forgotten(broker: Redis, workers: list[Census], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census_module, "FORGET", 1)
    one, two = workers
    for stream in streams("alice", 1, 2, 3):
        one.admits(stream, [])
    until(lambda: two.admits(Open("alice", "c4"), []), 10)


def test_what_is_renewed_stays_and_what_the_broker_lost_comes_back(broker: Redis, workers: list[Census]) -> None:
    one, two = workers
    broker.flushall()
    one.renew(streams("alice", 1, 2, 3))
    assert not two.admits(Open("alice", "c4"), [])
    assert 0 < broker.ttl("test:streams:{alice}") <= census_module.FORGET


def test_without_a_broker_each_worker_counts_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    lonely = Census(links_to("redis://127.0.0.1:1").client, "", 3)
    assert lonely.admits(Open("alice", "c3"), streams("alice", 1, 2))
    assert not lonely.admits(Open("alice", "c4"), streams("alice", 1, 2, 3))
    assert lonely.admits(Open("bob", "c4"), streams("alice", 1, 2, 3))
    lonely.forget(Open("alice", "c1"))
    lonely.renew(streams("alice", 2))
    gevent.idle()


def test_a_broker_that_is_away_is_asked_once_and_not_by_every_stream() -> None:
    asked: list[int] = []

    def away() -> Redis:
        asked.append(1)
        raise ConnectionError("away")

    lonely = Census(away, "", 3)
    for stream in streams("alice", *range(100)):
        assert lonely.admits(stream, [])
    assert len(asked) == 1


def test_zero_is_no_limit_and_asks_nobody() -> None:
    unlimited = Census(lambda: pytest.fail("asked"), "", 0)  # type: ignore[arg-type, return-value]
    assert unlimited.admits(Open("alice", "c"), streams("alice", *range(1000)))
    unlimited.forget(Open("alice", "c"))
    unlimited.renew(streams("alice", 1))
