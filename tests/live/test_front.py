"""Behind proxies: nginx as we ship its configuration, nginx as it comes, haproxy as it comes (R34)."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.fronts import defaults, haproxy, nginx, shipped
from tests.live.people import Person
from tests.live.reader import Reader
from tests.server import Server, free_port

CASES = ["shipped", "defaults", "haproxy"]


@pytest.fixture(scope="module")
def fronts(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The address of each proxy in front of the shared server."""
    folder = tmp_path_factory.mktemp("fronts")
    ports = {name: free_port() for name in CASES}
    with ExitStack() as stack:
        stack.enter_context(
            nginx(folder / "shipped", ports["shipped"], shipped(folder, ports["shipped"], [server.port], tls=False))
        )
        stack.enter_context(nginx(folder / "defaults", ports["defaults"], defaults(ports["defaults"], server.port)))
        stack.enter_context(haproxy(folder, ports["haproxy"], server.port))
        yield {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}


@pytest.mark.parametrize("front", CASES)
def test_events_come_through_at_once_and_plain(fronts: dict[str, str], alice: Person, front: str) -> None:
    """P23-P25: nothing is held back, nothing compressed, the head comes before any event."""
    thread_id = alice.new_thread()
    asked = {"Accept-Encoding": "gzip, deflate, br"}
    with Reader(fronts[front], token=alice.token, headers=asked) as reader:
        reader.wait("ready")
        assert "Content-Encoding" not in reader.headers
        for number in range(20):
            alice.server.reply(thread_id, f"word {number}", f"{thread_id} {number}")
            reader.wait_for_text(f"word {number}")


@pytest.mark.parametrize("front", CASES)
def test_a_client_that_closes_is_let_go_through_a_proxy_too(fronts: dict[str, str], alice: Person, front: str) -> None:
    with Reader(fronts[front], token=alice.token) as reader:
        reader.wait("ready")
    with Reader(fronts[front], token=alice.token, cursor=reader.cursor) as again:
        assert again.wait("ready")[0].id == reader.cursor


def test_what_operators_read_is_not_shown_to_the_outside(fronts: dict[str, str], server: Server) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{fronts['shipped']}/metrics")
