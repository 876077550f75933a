"""For every hand, eye and window: the keyboard alone, a screen reader, 390 px, light and dark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chat import Chat
from tests.browser.writer import Writer
from tests.server import Server

AXE = (Path(__file__).parent / "vendor" / "axe-4.14.1.min.js").read_text()
NARROW, WIDE = {"width": 390, "height": 844}, {"width": 1280, "height": 800}
LONG = "unbroken" * 40
RICH = (
    f"# Plan\n\n- one\n\n```python\n{'x = 1; ' * 40}\n```\n\n| a | b | c |\n|---|---|---|\n| {LONG} | 2 | 3 |\n\n{LONG}"
)


def violations(page: Page) -> list[dict[str, Any]]:
    """Run axe, which has been evaluated, not added as a script, which the page's policy refuses."""
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [{"rule": each["id"], "at": [node["target"] for node in each["nodes"]]} for each in found]


LOOKS: list[tuple[Any, Any]] = [(scheme, size) for scheme in ("light", "dark") for size in (NARROW, WIDE)]


def assert_clean_in_every_look(page: Page) -> None:
    page.evaluate(AXE)
    for scheme, size in LOOKS:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size(size)
        found = violations(page)
        assert not found, f"{scheme}, {size}: {json.dumps(found, indent=2)}"


def test_axe_finds_nothing_to_object_to(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/login")
    assert_clean_in_every_look(page)
    chat = Chat(page, server.url)
    chat.sign_in(server.name, server.password)
    assert_clean_in_every_look(page)
    chat.say("fail")
    expect(chat.failures).to_have_count(1)
    server.reply(chat.thread_id, RICH, "axe")
    expect(chat.answers).to_have_count(1)
    assert_clean_in_every_look(page)
    page.get_by_role("button", name="Delete this conversation").click()
    assert_clean_in_every_look(page)


def test_axe_finds_nothing_to_object_to_in_answers_and_what_is_done_about_them(written: Chat, writer: Writer) -> None:
    page = written.page
    written.say("axe answers")
    answer = writer.answer("axe answers")
    answer.stage("Looking")
    answer.reasoning("Hm.")
    answer.tool("search", input={"query": LONG})
    answer.token(RICH)
    written.say("axe queue")
    expect(page.get_by_role("button", name="Send now")).to_be_visible()
    assert_clean_in_every_look(page)
    assert_nothing_sideways(page)
    answer.sources({"title": LONG, "url": f"https://example.com/{LONG}", "text": LONG}, {"title": "B", "score": 0.5})
    answer.say("quality_score", score=0.5)
    answer.say("metadata", model="m", usage={"total_tokens": 5})
    answer.__exit__(None, None, None)
    with writer.answer("axe queue") as second:
        second.token("Yes.")
        second.say("follow_up_questions", questions=["Why?", LONG])
    page.get_by_role("button", name="Bad answer").last.click()
    expect(page.get_by_label("What was wrong?")).to_be_visible()
    for fold in page.locator("#messages .message[data-author=agent] summary:visible").all():
        fold.click()
    page.locator("#messages .message").first.hover()
    page.get_by_role("button", name="Edit", exact=True).first.click()
    page.route("**/messages/*", lambda route: route.abort())
    page.get_by_label("Your message").press("Enter")
    expect(page.get_by_role("alert").filter(has_text="could not be reached")).to_be_visible()
    assert_clean_in_every_look(page)
    assert_nothing_sideways(page)


@pytest.mark.parametrize("path", ["/login", "/", "/chat/nothing-here"])
def test_a_narrow_window_never_scrolls_sideways(chat: Chat, server: Server, path: str) -> None:
    page = chat.page
    page.set_viewport_size(NARROW)
    if path == "/login":
        page.context.clear_cookies()
    if path == "/":
        chat.say(LONG)
        expect(chat.said).to_have_count(1)
        server.reply(chat.thread_id, RICH, "narrow")
        expect(chat.answers).not_to_have_count(0)
    else:
        page.goto(server.url + path)
    assert_nothing_sideways(page)


def assert_nothing_sideways(page: Page) -> None:
    page.set_viewport_size(NARROW)
    boxes = page.locator("html, #log, #threads")
    widths = boxes.evaluate_all("boxes => boxes.map(box => [box.scrollWidth, box.clientWidth])")
    assert all(inner <= outer for inner, outer in widths), widths


def test_on_a_narrow_window_the_list_is_a_drawer(chat: Chat, server: Server) -> None:
    page = chat.page
    page.set_viewport_size(NARROW)
    thread_id = server.new_thread()
    opener = page.get_by_role("button", name="Conversations")
    row = chat.threads.locator(f"a[href='/chat/{thread_id}']")
    expect(row).not_to_be_visible()
    opener.click()
    expect(row).to_be_visible()
    page.keyboard.press("Escape")
    expect(row).not_to_be_visible()
    expect(opener).to_be_focused()
    opener.click()
    row.click()
    expect(page).to_have_url(f"{server.url}/chat/{thread_id}")
    expect(row).not_to_be_visible()
    expect(chat.text).to_be_focused()


def test_on_a_narrow_window_what_is_unread_stands_beside_the_menu_icon(chat: Chat, server: Server) -> None:
    chat.page.set_viewport_size(NARROW)
    server.reply(server.new_thread(), "news", "badge")
    icon = chat.page.locator("#open-drawer .icon").bounding_box()
    badge = chat.page.locator("#drawer-unread")
    expect(badge).to_be_visible()
    place, button = badge.bounding_box(), chat.page.locator("#open-drawer").bounding_box()
    assert icon
    assert place
    assert button
    assert icon["x"] + icon["width"] <= place["x"]
    assert place["x"] + place["width"] <= button["x"] + button["width"]


def test_the_keyboard_is_enough(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/login")
    page.keyboard.press("Tab")
    page.keyboard.type(server.name)
    page.keyboard.press("Tab")
    page.keyboard.type(server.password)
    page.keyboard.press("Enter")
    chat = Chat(page, server.url)
    chat.expect_connected()
    page.keyboard.type("typed, not clicked")
    page.keyboard.press("Enter")
    expect(chat.answers).to_have_count(1)
    expect(chat.text).to_be_focused()
    press_until_focused(page, "Delete this conversation", "Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Keep it")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Delete this conversation")).to_be_focused()
    page.keyboard.press("Enter")
    press_until_focused(page, "Delete", "Tab")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{server.url}/")
    expect(chat.text).to_be_focused()


def press_until_focused(page: Page, name: str, key: str) -> None:
    button = page.get_by_role("button", name=name, exact=True)
    for _ in range(30):
        page.keyboard.press(key)
        if button.evaluate("button => button === document.activeElement"):
            return
    raise AssertionError(f"{key} never came to {name!r}")


def test_the_skip_link_leads_to_writing(chat: Chat) -> None:
    link = chat.page.get_by_role("link", name="Skip to writing a message")
    link.focus()
    expect(link).to_be_in_viewport()
    chat.page.keyboard.press("Enter")
    expect(chat.text).to_be_focused()


def test_an_answer_is_announced_to_those_who_listen(chat: Chat, server: Server) -> None:
    chat.open(server.new_thread())
    server.reply(chat.thread_id, "the deploy is done", "announce")
    live = chat.page.get_by_role("log", name="New messages")
    expect(live).to_contain_text("the deploy is done")
    expect(live).to_have_attribute("aria-live", "polite")


def test_without_motion_nothing_moves(chat: Chat) -> None:
    page = chat.page
    page.emulate_media(reduced_motion="reduce")
    chat.say("slow")
    expect(chat.activity).to_be_visible()
    durations = page.locator("#activity i").evaluate_all(
        "dots => dots.map(d => getComputedStyle(d).animationIterationCount)"
    )
    assert set(durations) == {"1"}
