"""Whatever is killed in the middle of a conversation, open pages are complete afterwards, without a reload."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.chat import Chat
from tests.conftest import running
from tests.server import Server, command_line
from tests.until import until

BACK = 60_000  # ms: the panel's longest pause, and a machine that is slow


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all of them: whatever was killed, it is whole again afterwards."""
    yield from running(tmp_path_factory.mktemp("crashes"))


def kill_a_worker(server: Server) -> None:
    os.kill(server.workers()[0], signal.SIGKILL)


def kill_every_worker(server: Server) -> None:
    for pid in server.workers():
        os.kill(pid, signal.SIGKILL)


def kill_the_broker(server: Server) -> None:
    os.kill(server.broker(), signal.SIGKILL)


def kill_the_server(server: Server) -> None:
    kill_at_once(server)
    server.start()


def kill_at_once(server: Server) -> None:
    workers = server.workers()
    server.stop(signal.SIGKILL)
    until(lambda: not any(map(command_line, workers)), 30)  # they outlive it by a second


@pytest.mark.parametrize("kill", [kill_a_worker, kill_every_worker, kill_the_broker, kill_the_server])
def test_pages_are_complete_after(kill: Callable[[Server], None], context: BrowserContext, own_server: Server) -> None:
    chat = Chat(context.new_page(), own_server.url)
    chat.sign_in(own_server.name, own_server.password)
    chat.say("before")
    expect(chat.answers).to_have_count(1)
    pages = [chat, chat.another_tab()]
    for page in pages:
        page.page.evaluate("window.reloaded = false")
    assert own_server.reply(chat.thread_id, "at the last moment", f"{kill.__name__}-1")[0] == 200
    kill(own_server)
    until(lambda: posted(own_server, chat.thread_id, "in the meantime", f"{kill.__name__}-2"), 30)
    for page in pages:
        expect(page.answers).to_have_text(["You said: before", "at the last moment", "in the meantime"], timeout=BACK)
        page.expect_connected()
    chat.say("after")
    for page in pages:
        expect(page.said).to_have_text(["before", "after"], timeout=BACK)
        expect(page.answers).to_have_count(4, timeout=BACK)
        assert page.page.evaluate("window.reloaded") is False


def test_a_killed_server_that_comes_back_finds_the_page_complete(page: Page, own_server: Server) -> None:
    chat = Chat(page, own_server.url)
    chat.sign_in(own_server.name, own_server.password)
    chat.say("before")
    expect(chat.answers).to_have_count(1)
    kill_at_once(own_server)
    expect(chat.status).to_have_attribute("data-state", "waiting")
    chat.say("into the dark")
    expect(chat.failures).to_have_count(1)
    own_server.start()
    own_server.reply(chat.thread_id, "said after the restart", "restart")
    expect(chat.answers.filter(has_text="said after the restart")).to_have_count(1, timeout=60_000)
    expect(chat.said).to_have_text(["before", "into the dark"])
    expect(chat.answers).to_have_count(3)


def posted(server: Server, thread_id: str, text: str, key: str) -> bool:
    try:
        return server.reply(thread_id, text, key)[0] == 200
    except OSError:
        return False
