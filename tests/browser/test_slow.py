"""Answers that are long in coming, and lines that hold a stream back: the page says so, and gets them all the same."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Route, expect
from sqlalchemy.orm import Session

from chat import runs
from chat.models import Run
from tests.browser.chat import Chat
from tests.browser.stores import store_of
from tests.browser.writer import Writer
from tests.fronts import defaults, nginx, shipped
from tests.ports import free_port
from tests.server import Server

STREAM = re.compile(r"/stream\?(?!.*\bwait=)")
BUFFERING = "proxy_ignore_headers X-Accel-Buffering; proxy_buffering on;"
SLOWER = "Answers come slower: something between this page and the server holds the stream back."
RECORD = """
window.told = []
window.Notification = class extends EventTarget {
  static requestPermission = async () => "granted"
  constructor(title, { body }) { super(); told.push(`${title}: ${body}`) }
}
"""


def make_late(server: Server, thread_id: str) -> None:
    """The server finds that the newest run of a thread is silent for longer than is usual."""

    def change(session: Session) -> None:
        run = session.query(Run).filter_by(thread_id=thread_id).order_by(Run.id.desc()).first()
        assert run
        runs.change(session, run, late_after_ms=45_000, usual_ms=12_000)

    store_of(server).write(change)


def test_silence_is_told_and_the_question_can_be_asked_again(written: Chat, writer: Writer, server: Server) -> None:
    written.say("silence")
    writer.answer("silence")
    silence = written.page.get_by_role("region", name="No answer yet")
    expect(written.activity).to_be_visible()
    expect(silence).to_be_hidden()
    make_late(server, written.thread_id)
    expect(silence).to_contain_text("No answer after 45 s, usually 12 s.")
    expect(written.activity).to_be_hidden()
    silence.get_by_role("button", name="Give up and retry").click()
    with writer.answer("silence", 2) as answer:
        answer.token("Here I am.")
    expect(silence).to_be_hidden()
    expect(written.answers).to_have_text(["Here I am."])


def test_one_may_keep_waiting_and_be_told_when_the_answer_comes(written: Chat, writer: Writer, server: Server) -> None:
    page = written.page
    page.add_init_script(RECORD)
    page.reload()
    written.say("tell me")
    answer = writer.answer("tell me")
    make_late(server, written.thread_id)
    silence = page.get_by_role("region", name="No answer yet")
    silence.get_by_role("button", name="Tell me when it comes").click()
    expect(silence.get_by_role("button", name="You will be told")).to_be_disabled()
    silence.get_by_role("button", name="Keep waiting").click()
    expect(silence).to_be_hidden()
    expect(written.activity).to_be_visible()
    answer.token("At last.")
    answer.__exit__(None, None, None)
    expect(written.answers).to_have_text(["At last."])
    assert page.evaluate("told") == ["Atlas: At last."]


def test_where_streams_are_held_back_answers_come_by_asking_until_a_stream_gets_through(
    written: Chat, writer: Writer
) -> None:
    page = written.page
    held: list[Route] = []
    page.clock.install()
    page.route(STREAM, lambda route: held.append(route))  # never answered
    page.reload()
    for attempt in (1, 2):
        expect(written.status).to_have_attribute("data-state", "connecting")
        page.clock.fast_forward(10_000)
        if attempt == 1:
            expect(written.status).to_have_attribute("data-state", "waiting")
            page.clock.fast_forward(1_000)
    expect(written.status).to_contain_text("Connected, slower")
    expect(page.get_by_text(SLOWER)).to_be_visible()
    written.say("slowly")
    answer = writer.answer("slowly")
    answer.token("Yes, ")
    expect(written.answers).to_have_text(["Yes,"])
    answer.token("but it comes.")
    answer.__exit__(None, None, None)
    expect(written.answers).to_have_text(["Yes, but it comes."])
    expect(written.activity).to_be_hidden()
    page.reload()
    expect(written.status).to_contain_text("Connected, slower")
    expect(written.answers).to_have_text(["Yes, but it comes."])
    page.unroute(STREAM)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.get_by_text(SLOWER)).to_be_hidden()
    written.expect_connected()
    written.say("fast again")
    with writer.answer("fast again") as answer:
        answer.token("Yes.")
    expect(written.answers).to_have_text(["Yes, but it comes.", "Yes."])


def test_behind_an_nginx_that_buffers_answers_come_and_with_our_configuration_they_stream_again(
    written: Chat, writer: Writer, server: Server, tmp_path: Path
) -> None:
    page, port = written.page, free_port()
    behind = Chat(page, f"http://127.0.0.1:{port}")
    page.clock.install()
    with nginx(tmp_path / "buffering", port, defaults(port, server.port, BUFFERING)):
        page.goto(behind.url)
        for state in ("waiting", "connected"):
            expect(behind.status).to_have_attribute("data-state", "connecting")
            page.clock.fast_forward(10_000)
            expect(behind.status).to_have_attribute("data-state", state)
            page.clock.fast_forward(1_000)
        expect(page.get_by_text(SLOWER)).to_be_visible()
        behind.say("through nginx")
        with writer.answer("through nginx") as answer:
            answer.token("Here.")
        expect(behind.answers).to_have_text(["Here."])
    with nginx(tmp_path / "ours", port, shipped(tmp_path, port, [server.port], tls=False)):
        page.clock.fast_forward(60_000)
        expect(page.get_by_text(SLOWER)).to_be_hidden()
        behind.expect_connected()
        behind.say("through ours")
        answer = writer.answer("through ours")
        answer.token("At on")
        expect(behind.answers.last).to_have_text("At on")
        answer.token("ce.")
        answer.__exit__(None, None, None)
        expect(behind.answers).to_have_text(["Here.", "At once."])
