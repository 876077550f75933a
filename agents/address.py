"""Where an agent may be: public addresses, and the private ones that the operator has named (SSRF).

The address that was checked is the one that is called: a name that resolves differently a moment later gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

# Their last 32 bits are an IPv4 address: mapped (RFC 4291), compatible (the same, deprecated), NAT64 (RFC 6052).
CARRIERS = tuple(map(ipaddress.IPv6Network, ("::ffff:0:0/96", "::/96", "64:ff9b::/96")))


class AddressRefused(ValueError):
    """This URL must not be called; the message says why."""


@dataclass(frozen=True)
class Address:
    """A URL whose host has been pinned to one checked IP address."""

    url: str
    host: str  # for the Host header: as the agent's URL writes it
    name: str  # for TLS: the name its certificate is for


def resolve(url: str, allow: frozenset[str]) -> Address:
    """Pin a URL to a public address, or to any if `allow` names its host:port. Raises AddressRefused, OSError."""
    parts, name, port = read(url)
    ips = {str(info[4][0]) for info in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)}
    if not {f"{name}:{port}", f"[{name}]:{port}"} & allow and not all(is_public(ip) for ip in ips):
        raise AddressRefused(f"the agent's address is private; AGENT_ALLOW does not name {name}:{port}")
    ip = sorted(ips)[0]
    netloc = f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
    return Address(parts._replace(netloc=netloc, fragment="").geturl(), parts.netloc.rpartition("@")[2], name)


def read(url: str) -> tuple[SplitResult, str, int]:
    """Take a URL apart: its parts, its host's name and its port."""
    try:
        parts = urlsplit(url)
        name, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        name.encode("idna")  # here, since in getaddrinfo's thread gevent would print what it raises
    except ValueError as error:
        raise AddressRefused("the agent's URL cannot be read") from error
    if parts.scheme not in ("http", "https") or not name:
        raise AddressRefused("the agent's URL is not an http URL")
    return parts, name, port


def is_public(ip: str) -> bool:
    address = ipaddress.ip_address(ip.partition("%")[0])
    goal = address if isinstance(address, ipaddress.IPv4Address) else carried(address) or address
    return goal.is_global and not goal.is_multicast


def carried(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address inside, where a gateway delivers what is sent to this one."""
    if any(address in carrier for carrier in CARRIERS):
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.sixtofour
