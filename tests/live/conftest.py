"""What the live tests share: a server that all leave whole, one that they break, and people of their own on each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live.people import Person, newcomer
from tests.server import Server, free_port
from tests.until import until


@pytest.fixture
def alice(server: Server) -> Person:
    """Alice, with a log of her own on the shared server."""
    return newcomer(server)


@pytest.fixture(scope="session")
def agent_port() -> int:
    """Where a test may put an agent of its own; the breakable server is allowed to call there."""
    return free_port()


@pytest.fixture(scope="session")
def battered(tmp_path_factory: pytest.TempPathFactory, agent_port: int) -> Iterator[Server]:
    data_dir = tmp_path_factory.mktemp("battered")
    server = Server(data_dir, DRAIN_SECONDS=1, AGENT_READ_SECONDS=2, AGENT_ALLOW=f"127.0.0.1:{agent_port}")
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def breakable(battered: Server) -> Server:
    """A server to be broken; what it holds must survive, so the next test is given the same one."""
    if not runs(battered):
        battered.stop()
        battered.start()
    return battered


def runs(server: Server) -> bool:
    try:
        return until(server.is_ready, 15)
    except AssertionError:
        return False  # a test that failed left it dead


@pytest.fixture(autouse=True)
def no_traceback(request: pytest.FixtureRequest) -> Iterator[None]:
    """The shared server is not broken by anybody, so it has nothing to trace back."""
    if "server" not in request.fixturenames:
        yield
        return
    server = request.getfixturevalue("server")
    before = len(server.log())
    yield
    assert "Traceback" not in server.log()[before:]
