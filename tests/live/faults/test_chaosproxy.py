"""The proxy breaks what it is told to break, exactly, and is honest otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
from gevent.server import StreamServer
from gevent.socket import AF_UNIX, create_connection, socket

from tests.live.faults.chaosproxy import ChaosProxy
from tests.until import until


def echo(client: socket, _address: object) -> None:
    while chunk := client.recv(65536):
        client.sendall(chunk)


@pytest.fixture
def proxy() -> Iterator[ChaosProxy]:
    server = StreamServer(("127.0.0.1", 0), echo)
    server.start()
    with ChaosProxy(f"127.0.0.1:{server.server_port}") as proxy:
        yield proxy
    server.stop()


def caller(proxy: ChaosProxy) -> socket:
    return create_connection(("127.0.0.1", proxy.port), timeout=10)


def ask(client: socket, words: bytes) -> bytes:
    client.sendall(words)
    got = b""
    while len(got) < len(words):
        got += client.recv(65536)
    return got


def received(client: socket) -> int:
    """How many bytes come before the reset."""
    total = 0
    try:
        while chunk := client.recv(65536):
            total += len(chunk)
    except ConnectionResetError:
        return total
    raise AssertionError("it was ended, not reset")


def is_silent(client: socket) -> bool:
    with gevent.Timeout(0.3, False):
        return not client.recv(1)
    return True


def test_it_is_honest_when_nothing_is_broken(proxy: ChaosProxy) -> None:
    with caller(proxy) as client:
        assert ask(client, b"x" * 300_000) == b"x" * 300_000
        assert proxy.connections == 1
    until(lambda: proxy.connections == 0)


def test_a_cut_resets_what_is_open_and_serves_what_comes(proxy: ChaosProxy) -> None:
    with caller(proxy) as client:
        ask(client, b"words")
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with caller(proxy) as client:
        assert ask(client, b"words") == b"words"


def test_a_server_that_resets_is_passed_on_as_a_reset() -> None:
    def hang_up(client: socket, _address: object) -> None:
        client.recv(1)  # and not the rest: closing then sends RST

    server = StreamServer(("127.0.0.1", 0), hang_up)
    server.start()
    with ChaosProxy(f"127.0.0.1:{server.server_port}") as proxy, caller(proxy) as client:
        client.sendall(b"words")
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        until(lambda: proxy.connections == 0)
    server.stop()


def test_who_is_refused_is_served_after_healing_at_the_same_port(proxy: ChaosProxy) -> None:
    port = proxy.port
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        caller(proxy)
    proxy.heal()
    assert proxy.port == port
    with caller(proxy) as client:
        assert ask(client, b"words") == b"words"


def test_a_black_hole_keeps_connections_and_passes_nothing_on(proxy: ChaosProxy) -> None:
    with caller(proxy) as old, proxy.broken("blackhole"), caller(proxy) as new:
        old.sendall(b"words")
        new.sendall(b"words")
        assert is_silent(old)
        assert is_silent(new)
        proxy.heal()
        with pytest.raises(ConnectionResetError):
            old.recv(1)  # what it lost cannot be made up for


def test_a_delay_holds_up_both_ways(proxy: ChaosProxy) -> None:
    proxy.delay(400)
    with caller(proxy) as client:
        client.sendall(b"words")
        assert is_silent(client)
        assert client.recv(65536) == b"words"


def test_a_slow_line_passes_on_no_more_than_its_rate(proxy: ChaosProxy) -> None:
    proxy.delay(0, 1000)
    with caller(proxy) as client:
        client.sendall(b"x" * 400)
        assert is_silent(client)
        assert client.recv(400)


def test_slices_arrive_one_by_one_and_whole(proxy: ChaosProxy) -> None:
    proxy.slice(1)
    with caller(proxy) as client:
        assert ask(client, b"a long word" * 50) == b"a long word" * 50


@pytest.mark.parametrize("size", [1, 100, 70_000])
def test_a_connection_is_cut_after_exactly_so_many_bytes(proxy: ChaosProxy, size: int) -> None:
    proxy.cut_after(size)
    with caller(proxy) as client:
        client.sendall(b"x" * 100_000)
        assert received(client) == size
    with caller(proxy) as client:
        assert ask(client, b"words") == b"words"


def test_a_unix_socket_can_be_the_target(tmp_path: Path) -> None:
    listener = socket(AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    server = StreamServer(listener, echo)
    server.start()
    with ChaosProxy(str(tmp_path / "s")) as proxy, caller(proxy) as client:
        assert ask(client, b"words") == b"words"
    server.stop()
