"""Pages watch an answer being written: cut off, reloaded, late, with a server that breaks; each shows what is kept."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from playwright.sync_api import expect

from tests.browser.chat import Chat
from tests.browser.proxy import Proxy
from tests.browser.writer import Writer
from tests.server import ROOT, Server
from tests.until import until

RATE = 150.0  # tokens a second
WORDS = [
    "Zoë ",
    "e\u0301",
    "a\u0308 ",
    "😀",
    "👩‍👩‍👧‍👦 ",
    "🇨🇭",
    "𝔘𝔫𝔦 ",
    "א ",
    "plain ",
    "words ",
]  # no Markdown: drawn as they are
PATIENCE = 60_000  # ms


def words(count: int) -> list[str]:
    return [random.choice(WORDS) if number % 5 else f"{number} " for number in range(count)]


@contextmanager
def writing(writer: Writer, chat: Chat, text: str, words: list[str]) -> Iterator[None]:
    """She asks; an agent writes, and has ended when the block does."""
    chat.say(text)
    question = until(lambda: writer.asked(text))[-1]
    argv = [question["callback_url"], question["thread_id"], question["run_id"], writer.token, str(RATE)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.browser.scribbler", *argv], cwd=ROOT, stdin=subprocess.PIPE, text=True
    )
    assert process.stdin
    json.dump(words, process.stdin)
    process.stdin.close()
    try:
        yield
        assert process.wait(90) == 0
    finally:
        process.kill()


def shown(chat: Chat) -> str:
    return (chat.answers.last.text_content() or "").strip() if chat.answers.count() else ""


def check(chats: list[Chat], whole: str) -> None:
    for chat in chats:
        chat.page.bring_to_front()
        expect(chat.answers.last).to_have_text(whole, timeout=PATIENCE)
        expect(chat.page.get_by_role("button", name="Copy", exact=True).last).to_be_visible(timeout=PATIENCE)
        assert shown(chat) == whole


def tab(stack: ExitStack, written: Chat, server: Server) -> tuple[Chat, Proxy]:
    """Another page of the same conversation, by a line of its own."""
    line = stack.enter_context(Proxy(server.port))
    chat = Chat(written.page.context.new_page(), line.url)
    chat.page.goto(written.page.url.replace(written.url, line.url))
    chat.try_quickly()
    return chat, line


def test_every_page_shows_the_stored_text_however_often_it_is_cut(
    written: Chat, writer: Writer, server: Server
) -> None:
    """2,000 tokens at 150 a second, three pages cut thirty times and reloaded five times, one that comes late."""
    said = words(2000)
    whole = "".join(said)
    with ExitStack() as stack:
        written.say("Are you there?")
        with writer.answer("Are you there?") as answer:
            answer.token("Yes.")
        expect(written.answers.last).to_have_text("Yes.")
        tabs = [tab(stack, written, server) for _ in range(3)]
        for chat, _ in tabs:
            chat.expect_connected()
        with writing(writer, written, "all of it", said):
            upsets = [*["cut"] * 30, *["reload"] * 5]
            random.shuffle(upsets)
            for number, upset in enumerate(upsets):
                chat, line = random.choice(tabs)
                line.cut()
                if upset == "reload":
                    chat.page.reload()
                    chat.try_quickly()
                time.sleep(0.15)
                text = shown(chat)
                assert whole.startswith(text) or text == "Yes."
                if number == len(upsets) // 2:
                    tabs.append(tab(stack, written, server))
        check([written, *(chat for chat, _ in tabs)], whole.strip())


def kill_the_workers(server: Server) -> None:
    for pid in server.workers():
        os.kill(pid, signal.SIGKILL)


def kill_the_broker(server: Server) -> None:
    os.kill(server.broker(), signal.SIGKILL)


@pytest.mark.parametrize("upset", [kill_the_workers, kill_the_broker])
def test_a_page_shows_the_stored_text_whatever_dies(
    written: Chat, writer: Writer, server: Server, upset: Callable[[Server], None]
) -> None:
    said = words(600)
    written.try_quickly()
    with writing(writer, written, upset.__name__, said):
        expect(written.answers.last).to_contain_text("plain")
        upset(server)
    check([written], "".join(said).strip())
