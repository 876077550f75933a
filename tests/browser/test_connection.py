"""The page loses its line, its server or its session, says so, and comes back by itself with everything."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.chat import Chat
from tests.browser.proxy import Proxy
from tests.browser.stores import add_person
from tests.server import Server


def test_a_cut_line_heals_and_nothing_said_meanwhile_is_missed(page: Page, server: Server, proxy: Proxy) -> None:
    chat = Chat(page, proxy.url)
    chat.sign_in(server.name, server.password)
    chat.say("before the cut")
    expect(chat.answers).to_have_count(1)
    proxy.hang_up()
    expect(chat.status).to_have_attribute("data-state", "waiting")
    expect(chat.status).to_contain_text("Reconnecting")
    server.reply(chat.thread_id, "said meanwhile", "meanwhile")
    proxy.heal()
    chat.expect_connected()
    expect(chat.answers).to_have_count(2)
    expect(chat.answers.last).to_have_text("said meanwhile")
    expect(chat.said).to_have_count(1)


def test_many_cuts_lose_and_double_nothing(page: Page, server: Server, proxy: Proxy) -> None:
    chat = Chat(page, proxy.url)
    chat.sign_in(server.name, server.password)
    thread_id = server.new_thread()
    chat.open(thread_id)
    for number in range(30):
        server.reply(thread_id, f"part {number}", f"cuts-{number}")
        if number % 6 == 5:
            proxy.cut()
    expect(chat.answers).to_have_text([f"part {number}" for number in range(30)], timeout=30_000)


def test_a_server_that_accepts_and_hangs_up_reaches_the_panel_which_heals_by_itself(chat: Chat) -> None:
    """P20: a counter reset on `open` would go on at the first, short pause for ever, and never say so."""
    attempts: list[str] = []

    def accept_and_hang_up(route: Route) -> None:
        attempts.append(route.request.url)
        route.fulfill(status=200, content_type="text/event-stream", body="")

    chat.try_quickly()
    chat.page.route("**/stream?**", accept_and_hang_up)
    chat.text.fill("a draft")
    chat.page.evaluate("dispatchEvent(new Event('offline'))")
    expect(chat.status).to_have_attribute("data-state", "offline")
    chat.page.evaluate("dispatchEvent(new Event('online'))")
    expect(chat.panel).to_be_visible(timeout=40_000)
    assert len(attempts) >= 5
    expect(chat.panel).to_contain_text("The connection keeps failing")
    chat.panel.get_by_text("Technical details").click()
    expect(chat.panel.get_by_text("/stream")).to_be_visible()
    expect(chat.panel.get_by_text("200, signed in")).to_be_visible()
    expect(chat.panel.locator("ol li")).not_to_have_count(0)
    expect(chat.text).to_have_value("a draft")
    chat.try_slowly()
    expect(chat.status).to_contain_text(re.compile(r"in (2\d|30) s"))  # long enough to come before it
    chat.page.unroute("**/stream?**")
    chat.panel.get_by_role("button", name="Retry now").click()
    chat.expect_connected()
    expect(chat.panel).to_be_hidden()


def test_a_server_that_greets_and_hangs_up_reaches_the_panel_too(chat: Chat) -> None:
    greeting = 'event: ready\nid: {cursor}\ndata: {{"head":"{cursor}","ping":15,"conn":"c"}}\n\n'

    def greet_and_hang_up(route: Route) -> None:
        cursor = re.search(r"last_event_id=([^&]+)", route.request.url)
        assert cursor
        route.fulfill(status=200, content_type="text/event-stream", body=greeting.format(cursor=cursor[1]))

    chat.try_quickly()
    chat.page.route("**/stream?**", greet_and_hang_up)
    chat.lose_line()
    expect(chat.panel).to_be_visible(timeout=40_000)


def test_a_refused_stream_is_opened_again(chat: Chat) -> None:
    """P17: any status but 200 ends an EventSource for good, and hides the status."""
    chat.page.route("**/stream?**", lambda route: route.fulfill(status=503, body="busy"))
    chat.lose_line()
    expect(chat.status).to_have_attribute("data-state", "waiting")
    chat.page.unroute("**/stream?**")
    chat.expect_connected()


def test_a_stream_that_is_refused_for_its_focus_is_opened_without(chat: Chat) -> None:
    chat.say("before")
    expect(chat.answers).to_have_count(1)
    focused = re.compile(rf"/stream\?.*{chat.thread_id}")
    chat.page.route(focused, lambda route: route.fulfill(status=404, body="gone"))
    chat.lose_line()
    expect(chat.status).to_have_attribute("data-state", "waiting")
    chat.expect_connected()


def test_a_page_that_cannot_be_drawn_is_connected_all_the_same(page: Page, server: Server) -> None:
    broken = "export function drawTitle() { throw new Error('broken') }"
    page.route("**/js/draw/title.js", lambda route: route.fulfill(content_type="text/javascript", body=broken))
    Chat(page, server.url).sign_in(server.name, server.password)


def test_a_page_of_which_a_part_could_not_be_loaded_says_so_and_comes_anew(
    page: Page, server: Server, cookies: list[Any]
) -> None:
    """A browser drops all that it is loading when the network changes: the page would say "Connecting" for ever."""
    page.context.add_cookies(cookies)
    page.clock.install()
    page.route("**/js/draw/title.js", lambda route: route.abort("internetdisconnected"))
    chat = Chat(page, server.url)
    page.goto(server.url)
    expect(chat.status).to_contain_text("Could not be loaded")
    page.unroute("**/js/draw/title.js")
    page.clock.fast_forward(10_000)
    chat.expect_connected()


def test_a_dead_line_that_nobody_closed_is_noticed(page: Page, server: Server, proxy: Proxy) -> None:
    chat = Chat(page, proxy.url)
    page.clock.install()
    chat.sign_in(server.name, server.password)
    proxy.swallow()
    page.clock.fast_forward(60_000)
    expect(chat.status).not_to_have_attribute("data-state", "connected")
    proxy.heal()
    proxy.cut()
    page.clock.fast_forward(30_000)
    chat.expect_connected()


@pytest.mark.parametrize(
    ("reason", "words"),
    [("rotate", "Renewing the connection"), ("drain", "Server restarting"), ("limit", "Server busy")],
)
def test_why_the_server_ends_a_stream_is_said_in_words(chat: Chat, reason: str, words: str) -> None:
    goodbye = f'event: bye\nretry: 2000\ndata: {{"reason":"{reason}","retry_ms":2000}}\n\n'
    chat.page.route("**/stream?**", lambda route: route.fulfill(content_type="text/event-stream", body=goodbye))
    chat.lose_line()
    expect(chat.status).to_contain_text(words)
    chat.page.unroute("**/stream?**")
    chat.expect_connected()
    expect(chat.status).to_contain_text("Connected")


def test_a_session_that_ends_keeps_the_draft_and_resumes_after_signing_in(
    own_chat: Chat, server: Server, browser: Browser
) -> None:
    """P26."""
    chat = own_chat
    chat.say("before")
    expect(chat.answers).to_have_count(1)
    chat.text.fill("half a sentence")
    end_session(chat, browser)
    panel = chat.sign_in_panel
    expect(panel).to_be_visible()
    expect(panel.get_by_label("Password")).to_be_focused()
    server.reply(chat.thread_id, "said meanwhile", "expired")
    panel.get_by_label("E-mail address").fill(server.name)
    panel.get_by_label("Password").fill("not it")
    panel.get_by_role("button", name="Sign in").click()
    expect(panel.get_by_role("alert")).to_be_visible()
    panel.get_by_label("Password").fill(server.password)
    panel.get_by_role("button", name="Sign in").click()
    expect(panel).to_be_hidden()
    chat.expect_connected()
    expect(chat.answers).to_have_count(2)
    expect(chat.text).to_have_value("half a sentence")
    expect(chat.text).to_be_focused()


def test_a_message_sent_into_an_ended_session_is_sent_after_signing_in(
    own_chat: Chat, server: Server, browser: Browser
) -> None:
    chat = own_chat
    chat.say("before")
    expect(chat.answers).to_have_count(1)
    end_session(chat, browser)
    panel = chat.sign_in_panel
    expect(panel).to_be_visible()
    panel.get_by_role("button", name="Not now").click()
    chat.say("too late")
    expect(panel).to_be_visible()
    panel.get_by_label("E-mail address").fill(server.name)
    panel.get_by_label("Password").fill(server.password)
    panel.get_by_role("button", name="Sign in").click()
    expect(chat.answers).to_have_count(2)
    expect(chat.said).to_have_text(["before", "too late"])


def test_signing_in_in_another_tab_is_enough_for_this_one(own_chat: Chat, server: Server, browser: Browser) -> None:
    chat = own_chat
    chat.text.fill("half a sentence")
    end_session(chat, browser)
    expect(chat.sign_in_panel).to_be_visible()
    other = Chat(chat.page.context.new_page(), chat.url)
    other.sign_in(server.name, server.password)
    chat.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(chat.sign_in_panel).to_be_hidden()
    chat.expect_connected()
    expect(chat.threads.get_by_role("listitem").first).to_be_visible()
    expect(chat.text).to_have_value("half a sentence")


def test_a_session_that_has_ended_shows_nothing_of_what_was_said(own_chat: Chat, browser: Browser) -> None:
    """Signed out in one tab, and the other left open for whoever comes by."""
    own_chat.say("for my eyes only")
    expect(own_chat.answers).to_have_count(1)
    end_session(own_chat, browser)
    for shown in (own_chat.said, own_chat.threads.get_by_role("listitem").first, own_chat.page.locator("#room-title")):
        expect(shown).not_to_be_visible()
    own_chat.sign_in_panel.get_by_role("button", name="Not now").click()
    for shown in own_chat.page.get_by_text("for my eyes only").all():
        expect(shown).not_to_be_visible()
    expect(own_chat.text).to_be_visible()


def end_session(chat: Chat, browser: Browser) -> None:
    """Sign out elsewhere with the same cookie: the page keeps a cookie that no longer means anything."""
    elsewhere = browser.new_context()
    elsewhere.add_cookies(chat.page.context.cookies())  # type: ignore[arg-type]
    answer = elsewhere.request.post(f"{chat.url}/logout", headers={"Origin": chat.url, "Accept": "application/json"})
    assert answer.status == 204
    elsewhere.close()


def test_a_history_that_is_stale_is_fetched_anew(chat: Chat, server: Server) -> None:
    """A cursor that the log cannot continue: the server says reset, the page adopts a new state and goes on."""
    thread_id = server.new_thread()
    server.reply(thread_id, "one", "reset-1")
    chat.open(thread_id)
    seen: list[str] = []

    def ask_with_an_ancient_cursor(route: Route) -> None:
        seen.append(route.request.url)
        ancient = re.sub(r"last_event_id=[^&]+", "last_event_id=ancient.1", route.request.url)
        route.continue_(url=ancient if len(seen) == 1 else route.request.url)

    chat.page.route("**/stream?**", ask_with_an_ancient_cursor)
    chat.page.evaluate("dispatchEvent(new Event('offline'))")
    server.reply(thread_id, "two", "reset-2")
    chat.page.evaluate("dispatchEvent(new Event('online'))")
    expect(chat.status).to_contain_text("Up to date again")
    expect(chat.answers).to_have_text(["one", "two"])
    chat.expect_connected()
    server.reply(thread_id, "three", "reset-3")
    expect(chat.answers).to_have_text(["one", "two", "three"])
    assert len(seen) == 2


def test_somebody_else_who_signs_in_finds_their_own_page(own_chat: Chat, server: Server, browser: Browser) -> None:
    """Nothing that Alice wrote is shown to Bob, and nothing that she had still to send is said in his name."""
    chat = own_chat
    add_person(server, "bob@example.com", "bobs password")
    chat.say("before")
    expect(chat.answers).to_have_count(1)
    end_session(chat, browser)
    chat.sign_in_panel.get_by_role("button", name="Not now").click()
    chat.say("Alice's secret")
    panel = chat.sign_in_panel
    panel.get_by_label("E-mail address").fill("bob@example.com")
    panel.get_by_label("Password").fill("bobs password")
    panel.get_by_role("button", name="Sign in").click()
    expect(chat.page.get_by_text("bob@example.com")).to_be_visible()
    expect(chat.page).to_have_url(f"{chat.url}/")
    expect(chat.threads.get_by_role("listitem")).to_have_count(0)
    expect(chat.page.get_by_text("Alice's secret")).to_have_count(0)
    expect(chat.text).to_have_value("")


def test_what_alice_had_still_to_send_is_not_said_by_bob_who_signs_in_while_her_tab_rests(
    chat: Chat, server: Server
) -> None:
    add_person(server, "bert@example.com", "berts password")
    refusal = {"error": {"code": "unauthorized", "message": "Sign in first."}}
    chat.page.route("**/threads", lambda route: route.fulfill(status=401, json=refusal))
    chat.say("Alice's secret")
    expect(chat.failures).to_have_count(1)
    chat.page.evaluate("dispatchEvent(new Event('pagehide'))")
    expect(chat.status).to_have_attribute("data-state", "resting")
    chat.page.unroute("**/threads")
    chat.page.context.clear_cookies()
    other = Chat(chat.page.context.new_page(), chat.url)
    other.sign_in("bert@example.com", "berts password")
    chat.page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    expect(chat.page.get_by_text("bert@example.com")).to_be_visible()
    expect(chat.page.get_by_text("Alice's secret")).to_have_count(0)
    expect(other.threads.get_by_role("listitem")).to_have_count(0)
