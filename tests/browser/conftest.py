"""A real Chromium in front of a real server. Alice is the demo's person; what breaks in her page fails the test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import ConsoleMessage, Page, expect

from tests.browser.chat import Chat
from tests.browser.chromium import SWITCHES, chromium
from tests.browser.proxy import Proxy
from tests.server import Server

expect.set_options(timeout=10_000)


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """The system's own browser, or the one that CHROMIUM names."""
    return {**browser_type_launch_args, "executable_path": chromium(), "args": SWITCHES}


@pytest.fixture
def broken() -> list[str]:
    """What the page said went wrong. Empty at the end of every test that uses `chat`."""
    return []


@pytest.fixture
def chat(page: Page, server: Server, broken: list[str]) -> Iterator[Chat]:
    """Alice's page, signed in, with a new conversation open and the stream connected."""
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.on("console", lambda message: note_violation(message, broken))
    chat = Chat(page, server.url)
    chat.sign_in(server.name, server.password)
    yield chat
    assert broken == []


def note_violation(message: ConsoleMessage, broken: list[str]) -> None:
    """A refused request is logged as an error too, and some tests want one; a broken policy is never wanted."""
    if message.type == "error" and "Failed to load resource" not in message.text:
        broken.append(message.text)


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    """A line to the server that can be cut."""
    with Proxy(server.port) as proxy:
        yield proxy
