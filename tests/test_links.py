"""REDIS_URL and the ways to the broker it names, with real servers."""

import random
from collections.abc import Iterator
from itertools import count

import gevent
import pytest
from redis import RedisError

from config import Config, ConfigError
from realtime.broker_url import BadURL, links_to
from realtime.cluster import Cluster
from realtime.links import Nodes, Server
from realtime.sentinels import Sentinels
from tests.brokers import PASSWORD, Valkey, valkey

A, B = ("a", 1), ("b", 2)


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with valkey(PASSWORD) as found:
        yield found


@pytest.mark.parametrize(
    ("url", "node"),
    [
        ("redis://127.0.0.1:6380/2", ("127.0.0.1", 6380)),
        ("redis://broker", ("broker", 6379)),
        ("redis://:secret@[::1]:1", ("::1", 1)),
        ("rediss://user:secret@broker:6380/0?ssl_cert_reqs=none", ("broker", 6380)),
        ("unix:///run/broker.sock", ("/run/broker.sock", 0)),
    ],
)
def test_a_server_has_one_address(url: str, node: tuple[str, int]) -> None:
    links = links_to(url)
    assert isinstance(links, Server)
    assert links.find().all == {node}


def test_sentinels_are_asked_in_turn_with_a_password_of_their_own() -> None:
    links = links_to("rediss+sentinel://:s%2Fecret@one,two:5,[::1]:6/my%20service/3?sentinel_password=other")
    assert isinstance(links, Sentinels)
    assert (links._sentinels, links._service) == ([("one", 26379), ("two", 5), ("::1", 6)], "my service")
    assert (links._options["password"], links._options["db"]) == ("s/ecret", 3)
    assert (links._theirs["password"], links._theirs["db"]) == ("other", 0)


def test_a_cluster_has_seeds() -> None:
    links = links_to("redis+cluster://me:secret@one:7000,two")
    assert isinstance(links, Cluster)
    assert links._seeds == [("one", 7000), ("two", 6379)]
    assert (links._options["username"], links._options["password"]) == ("me", "secret")


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "broker",
            "broker:6379",
            "http://broker",
            "redis://",
            "unix://",
            "redis+sentinel://",
            "redis+shell://broker/x",
        ),
        *("redis://:hush@broker:port", "redis://:hush@broker:99999", "redis://:hush@broker/x", "redis://:hu/sh@broker"),
        *("redis://:hush@broker?no_such_option=1", "redis://:hush@broker?db=x"),
        *("redis+sentinel://:hush@broker", "redis+sentinel://:hush@broker/", "redis+sentinel://:hush@broker/main/x"),
        *("redis+sentinel://:hush@/main", "redis+sentinel://:hush@a,,b/main", "redis+sentinel://:hush@a:x/main"),
        *("redis+cluster://:hush@", "redis+cluster://:hush@broker/x", "redis+cluster://:hu@sh@broker"),
        *("unix+cluster://:hush@broker", "redis+cluster://:hush@broker:1:2"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_at_the_start_and_not_repeated(url: str) -> None:
    """It may hold a password."""
    with pytest.raises(BadURL, match="REDIS_URL must look like") as refused:
        links_to(url)
    assert "hush" not in str(refused.value)
    assert "\n" not in str(refused.value)
    if url:
        with pytest.raises(ConfigError, match="REDIS_URL must look like"):
            Config.from_env({"REDIS_URL": url})


@pytest.mark.parametrize("text", ["b", "{b}", "x{b}y", "b{}", "ü"])
def test_a_channel_belongs_to_the_node_that_owns_its_slot(text: str) -> None:
    assert Nodes.only(A).owner(text) == A
    both = Nodes(((0, 8191, A), (8192, 16383, B)))
    assert both.all == {A, B}
    assert both.owner(f"sse:{{{text}}}") == both.owner(f"other:{{{text}}}")


def test_the_slots_are_the_standards() -> None:
    """Redis cluster specification, "Key distribution model": 123456789 is at 0x31C3, of braces only what is in them."""
    only = Nodes(((0x31C3, 0x31C3, A),))
    assert only.owner("123456789") == only.owner("x{123456789}y") == A
    assert only.owner("12345678") is None
    assert only.owner("{}123456789") is None


def test_slots_that_nobody_serves_are_missed() -> None:
    assert Nodes.only(A).are_whole
    assert Nodes(((0, 8191, A), (8192, 16383, B))).are_whole
    assert not Nodes(((0, 8191, A), (8193, 16383, B))).are_whole


def test_every_node_has_a_channel_to_be_probed_on() -> None:
    nodes = Nodes(((0, 0, A), (2, 9000, B), (9002, 16383, A)))
    for node in (A, B):
        assert nodes.owner(nodes.channel_at(node, "blue:probe:")) == node


def test_a_connection_is_let_in_with_a_password_of_strange_letters(server: Valkey) -> None:
    links = links_to(server.url)
    connection = links.connect(server.address)
    connection.send_command("ECHO", "hello")
    assert connection.read_response() == b"hello"
    connection.disconnect()


def test_a_password_that_is_wrong_is_told_of_but_not_shown(server: Valkey) -> None:
    links = links_to(server.url.replace("a%2F", "hush"))
    for asking in (lambda: links.connect(server.address), lambda: links.client().ping()):
        with pytest.raises(RedisError, match="password") as refused:
            asking()
        assert "hush" not in f"{refused.value!r} {links.client()!r}"


def test_nothing_is_waited_for_that_a_vanished_server_does_not_say(server: Valkey) -> None:
    """R3, R4: it takes the connection, but says nothing; the kernel answers for it."""
    links = links_to(server.url)
    with server.paused(), gevent.Timeout(5):
        for asking in (lambda: links.connect(server.address), lambda: links.client().ping()):
            with pytest.raises(RedisError, match="Timeout"):
                asking()


def test_a_client_is_made_once_and_survives_a_restart(server: Valkey) -> None:
    links = links_to(server.url)
    client = links.client()
    assert links.client() is client
    assert client.eval("return ARGV[1]", 0, "hello") == b"hello"
    server.kill()
    with pytest.raises(RedisError):
        client.ping()
    server.start()
    assert client.eval("return ARGV[1]", 0, "again") == b"again"


def test_a_crowd_shares_a_few_connections(server: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.links.TIMEOUT", 10)  # to wait for one of them, on a machine that stands still
    client = links_to(server.url).client()
    asked = [gevent.spawn(client.echo, str(number)) for number in range(100)]
    assert [each.get(timeout=10) for each in asked] == [str(number).encode() for number in range(100)]
    assert len(server.ask("CLIENT", "LIST").splitlines()) <= 8 + 1


# A greenlet that is killed while it connects leaves the socket to be closed by Python.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_nobody_gets_the_answer_to_anothers_question(server: Valkey) -> None:
    """S38: 600 greenlets are killed, or run out of time, in the middle of a command."""
    client, numbers = links_to(server.url).client(), count()
    cut_off, answered, foreign = set(), [], []

    def ask(number: int) -> None:
        cut_off.add(number)
        answer = client.eval("return ARGV[1]", 0, f"{number} " + "x" * 20_000)
        cut_off.remove(number)
        answered.append(number)
        if not answer.startswith(b"%d " % number):
            foreign.append(number)

    while len(cut_off) < 600:
        crowd = [gevent.spawn(ask, next(numbers)) for _ in range(4)]
        with gevent.Timeout(random.uniform(0, 0.003), False):
            gevent.joinall(crowd)
        gevent.killall(random.sample(crowd, 3), block=False)
        gevent.joinall(crowd, timeout=5)
    assert not foreign
    assert len(answered) > 600
    assert client.echo("x") == b"x"
