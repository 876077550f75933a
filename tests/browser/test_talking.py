"""A person writes, an agent answers, and every open page shows it once."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Page, Route, expect

from chat import log
from chat.ids import now_ms
from chat.models import LogEntry, Message
from chat.native import message_json
from tests.browser.chat import Chat
from tests.browser.stores import add_person, add_stranger, open_threads, store_of
from tests.server import Server
from tests.until import until


def test_a_message_is_sent_and_answered(chat: Chat) -> None:
    chat.say("Hello, is anyone there?")
    expect(chat.said).to_have_text(["Hello, is anyone there?"])
    expect(chat.activity).to_contain_text("is answering")
    expect(chat.answers).to_have_count(1)
    expect(chat.activity).to_be_hidden()
    expect(chat.page).to_have_url(re.compile(r"/chat/.+"))


def test_enter_sends_and_shift_enter_breaks_the_line(chat: Chat) -> None:
    chat.text.press_sequentially("first")
    chat.text.press("Shift+Enter")
    chat.text.press_sequentially("  second")
    expect(chat.said).to_have_count(0)
    chat.text.press("Enter")
    expect(chat.said).to_have_count(1)
    assert chat.said.first.inner_text() == "first\n  second"


def test_enter_does_not_send_while_an_input_method_composes(chat: Chat) -> None:
    chat.text.fill("にほ")
    chat.text.evaluate("field => field.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', isComposing: true}))")
    expect(chat.text).to_have_value("にほ")
    expect(chat.said).to_have_count(0)


def test_a_tab_shows_what_another_tab_sends(chat: Chat) -> None:
    chat.say("from the first tab")
    expect(chat.answers).to_have_count(1)
    other = chat.another_tab()
    other.say("from the second tab")
    for tab in (chat, other):
        expect(tab.said).to_have_text(["from the first tab", "from the second tab"])
        expect(tab.answers).to_have_count(2)


def test_what_is_typed_before_the_scripts_have_come_stays(chat: Chat) -> None:
    held: list[Route] = []
    chat.page.route("**/js/chat.js", lambda route: held.append(route))
    chat.page.goto(chat.url, wait_until="commit")
    chat.text.fill("quick fingers")
    expect(chat.status).not_to_have_attribute("data-state", "connected")
    held[0].continue_()
    chat.expect_connected()
    expect(chat.text).to_have_value("quick fingers")


def test_a_reload_keeps_everything_and_doubles_nothing(chat: Chat) -> None:
    chat.say("keep this")
    expect(chat.answers).to_have_count(1)
    chat.text.fill("and this draft")
    chat.page.reload()
    chat.expect_connected()
    expect(chat.said).to_have_text(["keep this"])
    expect(chat.answers).to_have_count(1)
    expect(chat.text).to_have_value("and this draft")


def test_each_conversation_keeps_its_own_draft(chat: Chat, server: Server) -> None:
    chat.open(server.new_thread())
    chat.text.fill("for later")
    chat.page.get_by_role("link", name="New conversation").click()
    expect(chat.text).to_have_value("")
    chat.page.go_back()
    expect(chat.text).to_have_value("for later")


def test_an_updated_message_shows_its_new_text(chat: Chat, server: Server) -> None:
    thread_id = server.new_thread()
    chat.open(thread_id)
    status, _ = server.reply(thread_id, "The old words", "update-1")
    assert status < 300
    expect(chat.answers).to_have_text(["The old words"])
    rewrite(server, thread_id, "The **new** words")
    expect(chat.answers).to_have_text(["The new words"])
    expect(chat.page.locator(".message-edited:visible")).to_have_count(1)


def rewrite(server: Server, thread_id: str, text: str) -> None:
    """Change the newest message of a thread, as whatever edits messages will: by an entry in the log."""

    def change(session):  # type: ignore[no-untyped-def]
        message = session.query(Message).filter_by(thread_id=thread_id).order_by(Message.seq.desc()).first()
        place = log.take(session, message.participant_id)
        message.text, message.rev, message.edited_at = text, place.seq, now_ms()
        entry = LogEntry(kind="message", change="updated", thread_id=thread_id, subject_id=message.id)
        log.append(session, message.participant_id, place, entry, message_json(message))

    store_of(server).write(change)


def test_where_there_are_several_agents_one_is_chosen_and_its_failure_is_told(page: Page, server: Server) -> None:
    add_stranger(server, "several@example.com", "a password", "helper", "sidekick")
    chat = Chat(page, server.url)
    chat.sign_in("several@example.com", "a password")
    page.get_by_role("group", name="Who should answer?").get_by_label("sidekick").check()
    chat.say("Are you there?")
    expect(page.locator("#room-agent")).to_have_text("sidekick")
    expect(chat.failures).to_have_count(1)
    expect(chat.failures.get_by_role("button", name="Retry")).to_be_visible()
    expect(chat.failures.get_by_role("paragraph")).not_to_be_empty()


def test_where_there_is_no_agent_it_is_said_what_to_do_and_nothing_can_be_sent(page: Page, server: Server) -> None:
    add_stranger(server, "nobody@example.com", "a password")
    chat = Chat(page, server.url)
    chat.sign_in("nobody@example.com", "a password")
    expect(page.get_by_role("heading", name="There is no agent to ask yet")).to_be_visible()
    chat.say("Hello?")
    expect(page.get_by_role("button", name="Send")).to_be_disabled()
    expect(chat.text).to_have_value("Hello?")


def test_a_failed_run_is_told_under_its_message_and_can_be_retried(chat: Chat) -> None:
    chat.say("fail")
    expect(chat.failures).to_have_count(1)
    expect(chat.failures).to_contain_text("You asked me to fail.")
    chat.failures.get_by_role("button", name="Retry").click()
    expect(chat.failures).to_have_count(0)
    expect(chat.failures).to_have_count(1)  # the agent fails again, as it was asked to
    expect(chat.said).to_have_text(["fail"])


def test_a_message_that_could_not_be_sent_says_why_and_is_sent_once_by_retry(chat: Chat) -> None:
    chat.say("first")
    expect(chat.answers).to_have_count(1)
    chat.page.route("**/messages", lambda route: route.abort())
    chat.say("second")
    expect(chat.failures).to_contain_text("The server could not be reached.")
    chat.page.unroute("**/messages")
    chat.failures.get_by_role("button", name="Retry").click()
    expect(chat.failures).to_have_count(0)
    expect(chat.answers).to_have_count(2)
    expect(chat.said).to_have_text(["first", "second"])


def test_a_message_whose_answer_is_lost_on_the_way_is_not_said_twice(chat: Chat, server: Server) -> None:
    chat.say("first")
    expect(chat.answers).to_have_count(1)
    chat.page.route("**/stream?**", lambda route: route.abort())
    chat.page.evaluate("dispatchEvent(new Event('offline'))")  # no event shall confirm it
    chat.try_slowly()  # nor shall the page send it again before we do

    def lose_answer(route: Route) -> None:
        said = server.call("POST", urlsplit(route.request.url).path, route.request.post_data_json)
        assert said[0] == 201
        route.abort()

    chat.page.route("**/messages", lose_answer)
    chat.say("second")
    expect(chat.failures).to_have_count(1)
    chat.page.unroute("**/messages")
    chat.failures.get_by_role("button", name="Retry").click()
    expect(chat.failures).to_have_count(0)
    chat.page.unroute("**/stream?**")
    chat.page.evaluate("dispatchEvent(new Event('online'))")
    chat.expect_connected()
    expect(chat.answers).to_have_count(2)
    expect(chat.said).to_have_text(["first", "second"])


def test_a_message_that_could_not_be_sent_can_be_discarded(chat: Chat) -> None:
    chat.page.route("**/threads", lambda route: route.abort())
    chat.say("never mind")
    expect(chat.failures).to_have_count(1)
    chat.failures.get_by_role("button", name="Discard").click()
    expect(chat.said).to_have_count(0)


def test_a_message_that_could_not_be_sent_is_still_there_after_a_reload(chat: Chat) -> None:
    chat.say("first")
    expect(chat.answers).to_have_count(1)
    chat.page.route("**/messages", lambda route: route.abort())
    chat.say("second")
    expect(chat.failures).to_have_count(1)
    chat.page.unroute("**/messages")
    chat.page.reload()
    chat.expect_connected()
    expect(chat.said).to_have_text(["first", "second"])
    expect(chat.failures).to_contain_text("The server could not be reached.")
    chat.failures.get_by_role("button", name="Retry").click()
    expect(chat.answers).to_have_count(2)
    chat.page.reload()
    expect(chat.said).to_have_text(["first", "second"])
    expect(chat.failures).to_have_count(0)


def test_a_message_whose_answer_the_page_did_not_wait_for_is_not_said_twice(chat: Chat) -> None:
    chat.say("first")
    expect(chat.answers).to_have_count(1)
    chat.page.route("**/messages", lambda route: (route.fetch(), None)[1])  # said, and the page is left without knowing
    chat.page.route("**/stream?**", lambda route: route.abort())
    chat.page.evaluate("dispatchEvent(new Event('offline'))")
    with chat.page.expect_request("**/messages"):
        chat.say("second")
    chat.page.unroute("**/stream?**")
    chat.page.reload()
    chat.expect_connected()
    chat.page.unroute("**/messages")
    expect(chat.answers).to_have_count(2)
    expect(chat.said).to_have_text(["first", "second"])
    expect(chat.failures).to_have_count(0)


def test_a_message_that_can_never_be_accepted_goes_back_to_where_it_was_written(chat: Chat) -> None:
    chat.say("first")
    expect(chat.answers).to_have_count(1)
    refusal = {"error": {"code": "nul", "message": "The text must not hold U+0000."}}
    chat.page.route("**/messages", lambda route: route.fulfill(status=400, json=refusal))
    chat.say("not like this")
    expect(chat.failures).to_contain_text("The text must not hold U+0000.")
    expect(chat.failures.get_by_role("button", name="Retry")).to_have_count(0)
    chat.text.fill("typed since")
    chat.failures.get_by_role("button", name="Edit").click()
    expect(chat.text).to_have_value("not like this\ntyped since")
    expect(chat.text).to_be_focused()
    expect(chat.said).to_have_text(["first"])


def test_every_tab_has_a_stream_of_its_own_also_one_that_was_duplicated(chat: Chat) -> None:
    """What is kept for a tab is copied with it, so the page's name and its place in the log are kept nowhere."""
    chat.text.fill("a draft")
    asked: list[str] = []
    chat.page.context.on("request", lambda request: asked.append(request.url) if "/stream?" in request.url else None)
    chat.page.reload()
    chat.expect_connected()
    with chat.page.context.expect_page() as opened:
        chat.page.evaluate("void open(location.href)")  # with a copy of sessionStorage, as a duplicate has
    twin = Chat(opened.value, chat.url)
    twin.expect_connected()
    expect(twin.text).to_have_value("a draft")
    names = [parse_qs(urlsplit(url).query)["page"][0] for url in asked]
    assert len(names) == len(set(names)) == 2
    kept = chat.page.evaluate("Object.entries({...sessionStorage, ...localStorage}).flat().join()")
    assert not [name for name in names if name in kept]
    assert parse_qs(urlsplit(asked[0]).query)["last_event_id"][0].partition(".")[0] not in kept
    chat.expect_connected()


def test_a_conversation_that_could_not_be_loaded_says_so_and_can_be_tried_again(chat: Chat, server: Server) -> None:
    thread_id = server.new_thread()
    server.reply(thread_id, "there all along", "reload")
    chat.page.route(
        "**/messages", lambda route: route.fulfill(status=503, json={"error": {"code": "busy", "message": "Too busy."}})
    )
    chat.threads.locator(f"a[href='/chat/{thread_id}']").click()
    expect(chat.page.get_by_text("Too busy.")).to_be_visible()
    chat.page.unroute("**/messages")
    chat.page.get_by_role("button", name="Try again").click()
    expect(chat.answers).to_have_text(["there all along"])


def test_one_may_write_while_the_agent_answers(chat: Chat) -> None:
    chat.say("one")
    chat.say("two")
    chat.say("three")
    expect(chat.said).to_have_text(["one", "two", "three"])
    expect(chat.answers).to_have_count(3, timeout=20_000)


def test_near_its_limit_a_text_tells_how_much_room_is_left(chat: Chat) -> None:
    count = chat.page.locator("#composer-count")
    chat.text.fill("x" * 28_000)
    expect(count).to_be_hidden()
    chat.text.fill("x" * 31_990)
    expect(count).to_have_text("10 characters left")
    chat.text.fill("😀" * 32_001)
    expect(count).to_have_text("1 character too many")
    expect(chat.page.get_by_role("button", name="Send")).to_be_disabled()


def test_what_is_unread_is_counted_until_it_is_seen(chat: Chat, server: Server) -> None:
    thread_id = server.new_thread()
    for key in ("unread-1", "unread-2"):
        server.reply(thread_id, "news", key)
    row = chat.threads.locator(f"a[href='/chat/{thread_id}']")
    unread = row.locator("[data-part=unread]")
    expect(unread).to_have_text("2 unread")
    expect(chat.page).to_have_title(re.compile(r"^\(\d+\) Backchannel$"))
    row.click()
    expect(chat.answers).to_have_text(["news", "news"])
    expect(unread).to_be_hidden()
    until(lambda: server.call("GET", "/threads")[1]["items"][0]["unread"] == 0)  # the page knows first


def test_a_long_list_of_conversations_comes_page_by_page(page: Page, server: Server) -> None:
    add_person(server, "busy@example.com", "a password")
    open_threads(server, "busy@example.com", 55)
    chat = Chat(page, server.url)
    chat.sign_in("busy@example.com", "a password")
    rows = chat.threads.get_by_role("listitem")
    expect(rows).to_have_count(50)
    chat.page.get_by_role("button", name="Show more").click()
    expect(rows).to_have_count(55)
    expect(chat.page.get_by_role("button", name="Show more")).to_be_hidden()


def test_a_conversation_begun_elsewhere_appears_in_the_list(chat: Chat, server: Server) -> None:
    thread_id = server.new_thread()
    server.say(thread_id, "From a script: which builds failed?")
    row = chat.threads.locator(f"a[href='/chat/{thread_id}']")
    expect(row).to_contain_text("From a script: which builds failed?")
    row.click()
    expect(chat.said).to_have_text(["From a script: which builds failed?"])
    expect(chat.answers).to_have_count(1)


def test_a_deleted_conversation_vanishes_from_every_tab(chat: Chat) -> None:
    chat.say("soon gone")
    expect(chat.answers).to_have_count(1)
    thread_id, other = chat.thread_id, chat.another_tab()
    other.text.fill("half a thought")
    chat.page.get_by_role("button", name="Delete this conversation").click()
    dialog = chat.page.get_by_role("dialog", name="Delete this conversation?")
    expect(dialog.get_by_role("button", name="Keep it")).to_be_focused()
    dialog.get_by_role("button", name="Delete", exact=True).click()
    for tab in (chat, other):
        expect(tab.threads.locator(f"a[href='/chat/{thread_id}']")).to_have_count(0)
        expect(tab.page).to_have_url(f"{tab.url}/")
    expect(other.page.get_by_text("This conversation was deleted.")).to_be_visible()
    expect(other.text).to_have_value("half a thought")


def test_older_messages_come_when_scrolling_up_and_the_place_is_kept(chat: Chat, server: Server) -> None:
    thread_id = server.new_thread()
    for number in range(70):
        server.reply(thread_id, f"line {number}", f"older-{number}")
    chat.open(thread_id)
    expect(chat.answers).to_have_count(50)
    expect(chat.answers.last).to_be_in_viewport()
    first_shown = chat.answers.filter(has_text=re.compile(r"^line 20\s*$"))
    first_shown.scroll_into_view_if_needed()
    expect(chat.answers).to_have_count(70)
    expect(first_shown).to_be_in_viewport()
    expect(chat.answers.first).to_have_text("line 0")


def test_news_does_not_pull_a_reader_away_from_where_they_are(chat: Chat, server: Server) -> None:
    thread_id = server.new_thread()
    for number in range(40):
        server.reply(thread_id, f"line {number}", f"place-{number}")
    chat.open(thread_id)
    expect(chat.answers.last).to_be_in_viewport()
    chat.answers.first.scroll_into_view_if_needed()
    server.reply(thread_id, "the newest", "place-news")
    jump = chat.page.get_by_role("button", name="New messages")
    expect(jump).to_be_visible()
    expect(chat.answers.first).to_be_in_viewport()
    jump.click()
    expect(chat.answers.last).to_have_text("the newest")
    expect(chat.answers.last).to_be_in_viewport()
    expect(jump).to_be_hidden()
