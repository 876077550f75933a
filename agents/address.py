"""Where an agent may be: public addresses, and the private ones that the operator has named (SSRF).

The address that was checked is the one that is called: a name that resolves differently a moment later gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit


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
    parts = urlsplit(url)
    name, port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
    if parts.scheme not in ("http", "https") or not name:
        raise AddressRefused("the agent's URL is not an http URL")
    ips = {str(info[4][0]) for info in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)}
    if f"{name}:{port}" not in allow and not all(is_public(ip) for ip in ips):
        raise AddressRefused(f"the agent's address is private; AGENT_ALLOW does not name {name}:{port}")
    ip = sorted(ips)[0]
    netloc = f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
    return Address(parts._replace(netloc=netloc, fragment="").geturl(), parts.netloc.rpartition("@")[2], name)


def is_public(ip: str) -> bool:
    address = ipaddress.ip_address(ip.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_global and not mapped.is_multicast)
