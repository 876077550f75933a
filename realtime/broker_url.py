"""REDIS_URL: its forms, and the links each stands for."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from redis.connection import UnixDomainSocketConnection, parse_url

from realtime.cluster import Cluster
from realtime.links import Links, Node, Options, Server
from realtime.sentinels import Sentinels

FORMS = (
    "redis://host:port/db, unix:///path, redis+sentinel://host:port,host:port/service/db or "
    "redis+cluster://host:port,host:port; rediss for TLS, user:password@ before the hosts, "
    "and what is no letter or digit in a password as in %2F"
)
MANY = re.compile(r"(rediss?)\+(sentinel|cluster)://(?:([^@/?#]*)@)?([^@/?#]+)/?([^?#]*)(?:\?([^#]*))?")
PORT, SENTINEL_PORT = 6379, 26379


class BadURL(ValueError):
    """A REDIS_URL that cannot be used. What it says never shows the URL, which may hold a password."""


def links_to(url: str) -> Links:
    """Read the URL; nothing is asked of the broker yet. Raises BadURL."""
    try:
        links = read_many(*many.groups()) if (many := MANY.fullmatch(url)) else read_one(url)
        links.check()
    except (ValueError, TypeError, KeyError):
        raise BadURL(f"REDIS_URL must look like {FORMS}") from None
    return links


def read_one(url: str) -> Server:
    options: Options = parse_url(url)
    if options.get("connection_class") is UnixDomainSocketConnection:
        return Server((options.pop("path"), 0), options)
    check_database(urlsplit(url).path.strip("/"))
    return Server((options.pop("host"), options.pop("port", PORT)), options)


def read_many(scheme: str, kind: str, user: str | None, hosts: str, path: str, query: str | None) -> Links:
    service, _, database = path.rstrip("/").partition("/") if kind == "sentinel" else ("", "", path)
    check_database(database)
    options: Options = parse_url(f"{scheme}://{user or ''}@localhost/{database}?{query or ''}")
    del options["host"]
    if kind == "cluster":
        if path:
            raise ValueError("a cluster has but one database")
        options.pop("db", None)
        return Cluster(read_hosts(hosts, PORT), options)
    if not service:
        raise ValueError("no service")
    theirs = {name: options.pop(f"sentinel_{name}", None) for name in ("username", "password")}
    return Sentinels(read_hosts(hosts, SENTINEL_PORT), unquote(service), options, theirs)


def read_hosts(hosts: str, port: int) -> list[Node]:
    return [read_host(host, port) for host in hosts.split(",")]


def read_host(text: str, port: int) -> Node:
    found = urlsplit(f"//{text}")
    if not found.hostname:
        raise ValueError("no host")
    return found.hostname, found.port or port


def check_database(text: str) -> None:
    """redis-py takes whatever is no number for 0."""
    if text and not text.isdecimal():
        raise ValueError("no number")
