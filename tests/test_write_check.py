"""A store that can be read and not written is noticed, and found again when it takes writes."""

from __future__ import annotations

import pytest

from chat import write_check
from chat.store import Store, StoreAway
from chat.write_check import WriteCheck
from tests.site import Site


class Flaky:
    """The store, with writes that fail as often as it is told; it counts them."""

    def __init__(self, store: Store) -> None:
        self.failing, self.writes, self._store = 0, 0, store

    def write(self, work):  # type: ignore[no-untyped-def]
        self.writes += 1
        if self.failing:
            self.failing -= 1
            raise StoreAway("database or disk is full")
        return self._store.write(work)


@pytest.fixture
def flaky(store: Store, monkeypatch: pytest.MonkeyPatch) -> Flaky:
    monkeypatch.setattr(write_check, "AGAIN", 0.0)
    monkeypatch.setattr(write_check, "PATIENCE", 10.0)
    return Flaky(store)


def test_a_success_is_believed_for_a_while(flaky: Flaky) -> None:
    check = WriteCheck(flaky)  # type: ignore[arg-type]
    assert all(check.passes() for _ in range(10))
    assert flaky.writes == 1


def test_one_failure_may_be_chance_and_two_are_not(flaky: Flaky) -> None:
    check = WriteCheck(flaky)  # type: ignore[arg-type]
    flaky.failing = 3
    assert [check.passes() for _ in range(5)] == [True, False, False, True, True]
    assert flaky.writes == 4


def test_it_writes_for_real_and_changes_nothing(store: Store) -> None:
    def version() -> str:
        return store.read(
            lambda s: s.connection().exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one()
        )

    before = version()
    store.write(write_check.write_nothing)
    assert version() == before
    assert store.rung == []  # type: ignore[attr-defined]


def test_ready_says_so(site: Site, flaky: Flaky, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_check, "FRESH", 0.0)
    site.app.extensions["write_check"] = WriteCheck(flaky)  # type: ignore[arg-type]
    flaky.failing = 2
    answers = [site.call("anonymous", "GET", "/health/ready") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 503, 200]
    assert (answers[1].json["status"], answers[1].json["store"]) == ("unavailable", "read-only")
