"""Where an agent may be: the spellings by which a URL leads to a private address (OWASP, SSRF prevention)."""

import socket

import pytest

from agents.address import AddressRefused, is_public, resolve

NOBODY: frozenset[str] = frozenset()

# RFC 6890 and what stands in IANA's registries of special-purpose addresses; each with what is there.
PRIVATE = {
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback, elsewhere in its /8",
    "0.0.0.0": "this host",
    "0.1.2.3": "this network",
    "10.0.0.1": "private",
    "172.16.0.1": "private",
    "172.31.255.254": "private",
    "192.168.1.1": "private",
    "100.64.0.1": "carrier-grade NAT",
    "169.254.169.254": "link-local: the metadata of clouds",
    "192.0.2.1": "documentation",
    "198.18.0.1": "benchmarking",
    "224.0.0.1": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "broadcast",
    "::": "this host",
    "::1": "loopback",
    "fe80::1": "link-local",
    "fe80::1%1": "link-local, with its zone",
    "fc00::1": "unique local",
    "fd00:ec2::254": "unique local: the metadata of a cloud",
    "ff02::1": "multicast",
    "2001:db8::1": "documentation",
    "2001:0:7f00:1::": "Teredo",
    "::ffff:127.0.0.1": "mapped loopback",
    "::ffff:10.0.0.1": "mapped private",
    "::ffff:169.254.169.254": "mapped metadata",
    "::127.0.0.1": "compatible loopback",
    "64:ff9b::127.0.0.1": "NAT64 to loopback",
    "64:ff9b::a9fe:a9fe": "NAT64 to metadata",
    "2002:7f00:1::": "6to4 to loopback",
    "2002:a00:1::": "6to4 to private",
}
PUBLIC = ["8.8.8.8", "1.1.1.1", "172.32.0.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("ip", PRIVATE)
def test_a_private_address_is_known_as_one(ip: str) -> None:
    assert not is_public(ip), PRIVATE[ip]


@pytest.mark.parametrize("ip", PUBLIC)
def test_a_public_address_is_known_as_one(ip: str) -> None:
    assert is_public(ip)


LOOPBACK = [
    *("http://127.0.0.1/", "http://127.1/", "http://2130706433/", "http://0x7f000001/", "http://0x7f.1/"),
    *("http://017700000001/", "http://0177.0.0.1/", "http://0/", "http://0.0.0.0/", "http://localhost/"),
    *("http://LOCALHOST/", "http://127.0.0.1:80/", "https://127.0.0.1/", "http://①②⑦.0.0.1/"),
    *("http://[::1]/", "http://[::]/", "http://[::ffff:127.0.0.1]/", "http://[0:0:0:0:0:ffff:7f00:1]/"),
    *("http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/"),
    # What stands before the @ is a name and a password, not the host.
    *("http://8.8.8.8@127.0.0.1/", "http://8.8.8.8:80@127.0.0.1:9/", "http://a@8.8.8.8@127.0.0.1/"),
    *("http://8.8.8.8%40127.0.0.1@127.0.0.1/", "http://169.254.169.254/latest/meta-data/"),
]


@pytest.mark.parametrize("url", LOOPBACK)
def test_no_spelling_of_a_private_address_is_let_through(url: str) -> None:
    with pytest.raises((AddressRefused, socket.gaierror)):
        resolve(url, NOBODY)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "/",
            "8.8.8.8",
            "//8.8.8.8/",
            "http:",
            "http://",
            "http:///x",
            "http://:80/",
            "http://@/",
            "http:8.8.8.8",
        ),
        *("file:///etc/passwd", "gopher://8.8.8.8/", "ftp://8.8.8.8/", "unix:///run/broker.sock", "javascript:1"),
        *("data:text/plain,x", "dict://8.8.8.8:11211/", "ws://8.8.8.8/", "httpx://8.8.8.8/"),
        *("http://[::1", "http://[x]/", "http://8.8.8.8:99999/", "http://8.8.8.8:port/", "http://8.8.8.8:-1/"),
        *("http://" + "a" * 70 + "/", "http://.../", "http://a..b/"),
    ],
)
def test_what_is_no_http_url_is_refused(url: str) -> None:
    with pytest.raises(AddressRefused):
        resolve(url, NOBODY)


@pytest.mark.parametrize(
    ("url", "allow"),
    [
        ("http://127.0.0.1:9000/", "127.0.0.1:9000"),
        ("http://127.0.0.1/", "127.0.0.1:80"),
        ("https://127.0.0.1/", "127.0.0.1:443"),
        ("http://LocalHost:9000/ask", "localhost:9000"),
        ("http://8.8.8.8@127.0.0.1:9000/", "127.0.0.1:9000"),
    ],
)
def test_a_private_agent_that_is_named_exactly_is_called(url: str, allow: str) -> None:
    assert resolve(url, frozenset({allow})).url.startswith(("http", "https"))


@pytest.mark.parametrize(
    "allow",
    [
        *("127.0.0.1", "127.0.0.1:", "127.0.0.1:80", "127.0.0.1:90000", "127.0.0.1:900", "127.0.0.1:9001", "*", ""),
        *("localhost:9000", "127.0.0.2:9000", "0.0.0.0:9000", "http://127.0.0.1:9000", "27.0.0.1:9000", "127.1:9000"),
    ],
)
def test_one_that_is_not_named_exactly_is_not(allow: str) -> None:
    with pytest.raises(AddressRefused, match=r"127\.0\.0\.1:9000"):
        resolve("http://127.0.0.1:9000/", frozenset({allow}))


def test_the_address_that_was_checked_is_the_one_that_is_called() -> None:
    address = resolve("http://user:secret@8.8.8.8:8080/ask?x=1#part", NOBODY)
    assert (address.url, address.host, address.name) == ("http://8.8.8.8:8080/ask?x=1", "8.8.8.8:8080", "8.8.8.8")


def test_an_address_of_version_6_keeps_its_brackets() -> None:
    address = resolve("http://[2606:4700:4700::1111]/ask", NOBODY)
    assert (address.url, address.host) == ("http://[2606:4700:4700::1111]:80/ask", "[2606:4700:4700::1111]")
