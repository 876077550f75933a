"""The far end of a stream's connection, over real sockets: that it closes is noticed without a write."""

import socket
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import gevent
import pytest

from realtime import peer
from realtime.peer import has_closed, watched
from tests.until import until


@pytest.fixture(params=["tcp", "unix"])
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Our end of a connection and the client's."""
    if request.param == "unix":
        ours, theirs = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as server:
            theirs = socket.create_connection(server.getsockname())
            ours, _ = server.accept()
    with closing(ours), closing(theirs):
        yield ours, theirs


def test_a_client_that_closes_is_noticed_without_a_write(ends: tuple[socket.socket, socket.socket]) -> None:
    """P22: else it is unseen until the next ping."""
    ours, theirs = ends
    gone: list[float] = []
    with watched(ours, lambda: gone.append(time.monotonic())):
        gevent.sleep(0.02)
        assert gone == []
        closed = time.monotonic()
        theirs.close()
        until(lambda: gone)
        assert gone[0] - closed < 1
        gevent.sleep(0.05)
    assert len(gone) == 1


def test_a_client_that_only_ends_its_own_half_is_gone_too(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    gone: list[bool] = []
    with watched(ours, lambda: gone.append(True)):
        theirs.shutdown(socket.SHUT_WR)
        until(lambda: gone)


def test_a_client_that_has_gone_before_is_noticed_at_once(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    theirs.close()
    gone: list[bool] = []
    with watched(ours, lambda: gone.append(True)):
        until(lambda: gone)


def test_a_client_that_talks_is_not_gone_and_costs_nothing(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it says is read by nobody, so the socket stays readable: a watcher that went on would spin for ever."""
    ours, theirs = ends
    gone: list[bool] = []
    looks: list[bool] = []
    monkeypatch.setattr(peer, "has_closed", lambda sock: looks.append(has_closed(sock)) or looks[-1])
    with watched(ours, lambda: gone.append(True)):
        theirs.sendall(b"hello?")
        until(lambda: looks)
        for _ in range(20):
            theirs.sendall(b"still there?")
            gevent.sleep(0.005)
    assert (looks, gone) == ([False], [])


def test_it_is_still_seen_to_be_gone_when_it_says_something_last(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    theirs.sendall(b"bye")
    theirs.close()
    gone: list[bool] = []
    with watched(ours, lambda: gone.append(True)):
        until(lambda: gone)


def test_once_the_stream_is_over_nobody_is_told(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    gone: list[bool] = []
    with suppress(ZeroDivisionError), watched(ours, lambda: gone.append(True)):
        raise ZeroDivisionError
    theirs.close()
    until(lambda: has_closed(ours))
    gevent.sleep(0.02)
    assert gone == []


def test_a_server_that_hides_its_socket_is_served_unwatched() -> None:
    gone: list[bool] = []
    with watched(None, lambda: gone.append(True)):
        gevent.sleep(0.01)
    assert gone == []


def test_a_client_that_stops_reading_or_vanishes_is_given_up(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = ends
    before = ours.gettimeout()
    with watched(ours, lambda: None):
        assert ours.gettimeout() == peer.STALLED
        if ours.family == socket.AF_INET:
            assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == peer.VANISHED
            assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert ours.gettimeout() == before, "the connection may be used again"
