"""How many streams one user may have over all workers, and that a page has one (DESIGN 7)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.live.people import Person, newcomer
from tests.live.reader import Reader
from tests.server import Server
from tests.until import until

CAP = 4


@pytest.fixture(scope="module")
def capped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(Path(tmp_path_factory.mktemp("capped")), STREAMS_PER_USER=CAP)
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def bob(capped: Server) -> Person:
    return newcomer(capped)


def opened(stack: ExitStack, who: Person, path: str = "/stream") -> Reader:
    """A stream that is let in or refused, whichever it is."""
    reader = stack.enter_context(who.reader(path))
    until(lambda: reader.events)
    return reader


def names(reader: Reader) -> list[str]:
    return [event.event for event in reader.events]


def test_a_user_has_so_many_streams_over_all_workers_and_the_newest_is_asked_to_come_back(bob: Person) -> None:
    with ExitStack() as stack:
        readers = [opened(stack, bob) for _ in range(3 * CAP)]
        refused = [reader for reader in readers if names(reader) == ["bye"]]
        assert len(refused) == 2 * CAP
        assert readers[:CAP] == [reader for reader in readers if "ready" in names(reader)], "no old one is thrown out"
        for reader in refused:
            assert reader.status == 200
            assert reader.events[0].json["reason"] == "limit"
            assert 2000 <= reader.events[0].retry <= 5000
            assert reader.wait_for_end() == "clean"
        other = opened(stack, newcomer(bob.server))
        assert names(other) == ["ready"], "others are not counted in"
        readers[0].close()
        until(lambda: names(opened(stack, bob)) == ["ready"])


def test_a_page_that_opens_a_new_stream_ends_its_old_one_wherever_that_is(bob: Person) -> None:
    """Ten times in a row, so that both workers have their turn; the cap does not count them."""
    with ExitStack() as stack:
        other = opened(stack, bob, "/stream?page=other")
        last = opened(stack, bob, "/stream?page=mine")
        for _ in range(10):
            reader = opened(stack, bob, "/stream?page=mine")
            assert names(reader) == ["ready"]
            assert last.wait_for_end() == "clean"
            assert last.events[-1].json["reason"] == "rotate"
            last = reader
        stranger = opened(stack, newcomer(bob.server), "/stream?page=mine")
        bob.say(bob.new_thread(), "still here?")
        for reader in (other, last):
            reader.wait("message")
        assert names(stranger) == ["ready"]
