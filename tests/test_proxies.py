"""X-Forwarded-*: believed of as many proxies as the operator has named, and of nobody else (S26)."""

from pathlib import Path
from typing import Any

import pytest
from flask import request

from tests.site import Site

SAID = {
    "X-Forwarded-For": "203.0.113.1, 203.0.113.2",
    "X-Forwarded-Proto": "gopher, https",
    "X-Forwarded-Host": "evil.test, chat.example.com",
}


def seen(site: Site, **more: Any) -> tuple[str | None, str, str]:
    site.app.add_url_rule("/probe", view_func=lambda: [request.remote_addr, request.scheme, request.host])
    return tuple(site.call("anonymous", "GET", "/probe", headers=SAID, **more).json)


@pytest.mark.parametrize(
    ("proxies", "address", "scheme", "host"),
    [
        (0, "127.0.0.1", "http", "localhost"),
        (1, "203.0.113.2", "https", "chat.example.com"),
        (2, "203.0.113.1", "gopher", "evil.test"),
        (3, "127.0.0.1", "http", "localhost"),
    ],
)
def test_only_what_the_last_so_many_proxies_said_is_believed(
    site: Site, tmp_path: Path, proxies: int, address: str, scheme: str, host: str
) -> None:
    behind = Site(site.store, site.people, tmp_path / "behind", TRUSTED_PROXIES=proxies)
    assert seen(behind) == (address, scheme, host)


@pytest.mark.parametrize(("proxies", "status"), [(0, 403), (1, 201)])
def test_a_page_behind_a_proxy_is_this_sites_own_only_if_the_proxy_is_trusted(
    site: Site, tmp_path: Path, proxies: int, status: int
) -> None:
    """Else anybody's page could name itself by a header."""
    behind = Site(site.store, site.people, tmp_path / "behind", TRUSTED_PROXIES=proxies)
    headers = {"Origin": "https://chat.example.com", "X-Forwarded-Host": "chat.example.com"}
    answer = behind.signed_in().post("/threads", json={"agent": "echo"}, headers=headers)
    assert answer.status_code == status
