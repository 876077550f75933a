"""Whatever is killed in the middle of a conversation, open pages are complete afterwards, without a reload."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.chat import Chat
from tests.server import Server
from tests.until import until

BACK = 60_000  # ms: the panel's longest pause, and a machine that is slow


def kill_a_worker(server: Server) -> None:
    os.kill(server.workers()[0], signal.SIGKILL)


def kill_every_worker(server: Server) -> None:
    for pid in server.workers():
        os.kill(pid, signal.SIGKILL)


def kill_the_broker(server: Server) -> None:
    os.kill(server.broker(), signal.SIGKILL)


def kill_the_server(server: Server) -> None:
    server.stop(signal.SIGKILL)
    server.start()


@pytest.mark.parametrize("kill", [kill_a_worker, kill_every_worker, kill_the_broker, kill_the_server])
def test_pages_are_complete_after(kill: Callable[[Server], None], context: BrowserContext, own_server: Server) -> None:
    chat = Chat(context.new_page(), own_server.url)
    chat.sign_in(own_server.name, own_server.password)
    chat.say("before")
    expect(chat.answers).to_have_count(1)
    pages = [chat, chat.another_tab()]
    for page in pages:
        page.page.evaluate("window.reloaded = false")
    assert own_server.reply(chat.thread_id, "at the last moment", "k1")[0] == 200
    kill(own_server)
    until(lambda: posted(own_server, chat.thread_id, "in the meantime", "k2"), 30)
    for page in pages:
        expect(page.answers).to_have_text(["You said: before", "at the last moment", "in the meantime"], timeout=BACK)
        page.expect_connected()
    chat.say("after")
    for page in pages:
        expect(page.said).to_have_text(["before", "after"], timeout=BACK)
        expect(page.answers).to_have_count(4, timeout=BACK)
        assert page.page.evaluate("window.reloaded") is False


def posted(server: Server, thread_id: str, text: str, key: str) -> bool:
    try:
        return server.reply(thread_id, text, key)[0] == 200
    except OSError:
        return False
