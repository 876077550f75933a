"""A real Chromium in front of a real server. Alice is the demo's person; what breaks in her page fails the test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import APIRequestContext, ConsoleMessage, Page, Playwright, expect

from tests.browser.chat import Chat
from tests.browser.chromium import SWITCHES, chromium
from tests.browser.proxy import Proxy
from tests.browser.writer import Writer
from tests.conftest import running
from tests.server import Server

expect.set_options(timeout=10_000)


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """The system's own browser, or the one that CHROMIUM names."""
    return {**browser_type_launch_args, "executable_path": chromium(), "args": SWITCHES}


@pytest.fixture(scope="session")
def writer() -> Iterator[Writer]:
    writer = Writer()
    yield writer
    writer.kill()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, writer: Writer) -> Iterator[Server]:
    """One server for all tests that leave it whole. It may ask the writer."""
    yield from running(tmp_path_factory.mktemp("server"), AGENT_ALLOW=writer.address)


@pytest.fixture(scope="session")
def wendys_cookies(playwright: Playwright, server: Server, writer: Writer) -> list[Any]:
    return writer.meet(server, playwright)


@pytest.fixture
def written(page: Page, server: Server, writer: Writer, wendys_cookies: list[Any], broken: list[str]) -> Iterator[Chat]:
    """Wendy's page. What she asks, the test answers as `writer`."""
    page.context.add_cookies(wendys_cookies)
    chat = watched(page, server, broken)
    page.goto(server.url)
    chat.expect_connected()
    yield chat
    writer.hang_up()
    assert broken == []


@pytest.fixture
def broken() -> list[str]:
    """What the page said went wrong. Empty at the end of every test that uses `chat`."""
    return []


@pytest.fixture(scope="session")
def cookies(playwright: Playwright, server: Server) -> list[Any]:
    """Of one session of Alice's: signing in takes as long as some tests."""
    browserless: APIRequestContext = playwright.request.new_context(base_url=server.url)
    answer = browserless.post("/login", data={"name": server.name, "password": server.password})
    assert answer.ok, answer.text()
    kept = browserless.storage_state()["cookies"]
    browserless.dispose()
    return kept


@pytest.fixture
def chat(page: Page, server: Server, cookies: list[Any], broken: list[str]) -> Iterator[Chat]:
    """Alice's page, signed in, with a new conversation open and the stream connected."""
    page.context.add_cookies(cookies)
    chat = watched(page, server, broken)
    page.goto(server.url)
    chat.expect_connected()
    yield chat
    assert broken == []


@pytest.fixture
def own_chat(page: Page, server: Server, broken: list[str]) -> Iterator[Chat]:
    """The same in a session of its own, which the test may end."""
    chat = watched(page, server, broken)
    chat.sign_in(server.name, server.password)
    yield chat
    assert broken == []


def watched(page: Page, server: Server, broken: list[str]) -> Chat:
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.on("console", lambda message: note_violation(message, broken))
    return Chat(page, server.url)


def note_violation(message: ConsoleMessage, broken: list[str]) -> None:
    """A refused request is logged as an error too, and some tests want one; a broken policy is never wanted."""
    if message.type == "error" and "Failed to load resource" not in message.text:
        broken.append(message.text)


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    """A line to the server that can be cut."""
    with Proxy(server.port) as proxy:
        yield proxy
