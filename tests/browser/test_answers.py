"""An answer is drawn while it is written, with what stands beside it; the person stops it, asks anew, judges it."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import Locator, Page, expect

from agents.client import Answer
from tests.browser.chat import Chat
from tests.browser.writer import Writer

HARD = (
    "Zoë says e\u0301, a\u0308, 👩‍👩‍👧‍👦 and 🇨🇭; 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 ends with \u202eא\u202c."  # drawn as it is: no Markdown in it
)


def ask(chat: Chat, writer: Writer, text: str) -> Answer:
    chat.say(text)
    return writer.answer(text)


def action(message: Locator, name: str) -> Locator:
    return message.get_by_role("button", name=name, exact=True)


def last(chat: Chat) -> Locator:
    return chat.page.locator("#messages .message").last


def test_an_answer_grows_and_its_end_changes_nothing_of_what_is_drawn(written: Chat, writer: Writer) -> None:
    answer = ask(written, writer, "grow")
    answer.token("First, **one** thing.\n\nThen ano")
    expect(written.answers).to_have_text(["First, one thing. Then ano"])
    written.page.evaluate("firstBlock = document.querySelector('.block')")
    answer.token("ther.\n\n")
    answer.token(HARD)
    expect(written.answers).to_contain_text(HARD)
    answer.__exit__(None, None, None)
    expect(written.activity).to_be_hidden()
    expect(action(last(written), "Copy")).to_be_visible()
    expect(written.answers).to_have_text([f"First, one thing. Then another. {HARD}"])
    assert written.page.evaluate("firstBlock.isConnected"), "a finished block was drawn anew"
    assert written.page.evaluate("document.querySelectorAll('.block').length") == 3


def test_who_comes_late_or_again_sees_what_is_written_at_once_and_nothing_twice(written: Chat, writer: Writer) -> None:
    answer = ask(written, writer, "reload")
    answer.token("Half of ")
    expect(written.answers).to_have_text(["Half of"])
    written.page.reload()
    expect(written.answers).to_have_text(["Half of"])
    other = written.another_tab()
    expect(other.answers).to_have_text(["Half of"])
    answer.token(HARD)
    for tab in (written, other):
        expect(tab.answers).to_have_text([f"Half of {HARD}"])
    written.lose_line()
    answer.token(" And more.")
    answer.__exit__(None, None, None)
    for tab in (written, other):
        expect(tab.answers).to_have_text([f"Half of {HARD} And more."])
        expect(action(last(tab), "Copy")).to_be_visible()
        assert tab.answers.first.inner_text() == f"Half of {HARD} And more."


def test_a_link_defined_at_the_end_is_a_link_where_it_is_used(written: Chat, writer: Writer) -> None:
    with ask(written, writer, "define") as answer:
        answer.token("See [the docs][1].\n\nMore.\n\n")
        answer.token("[1]: https://example.com/docs\n")
    expect(written.answers.get_by_role("link", name="the docs")).to_have_attribute("href", "https://example.com/docs")


def test_what_the_agent_does_and_rests_on_is_shown_beside_the_answer(written: Chat, writer: Writer) -> None:
    page = written.page
    answer = ask(written, writer, "parts")
    answer.stage("Searching the archive")
    expect(written.activity).to_contain_text("Searching the archive")
    answer.reasoning("I look at the **log**.")
    answer.tool("search", id="1", input={"query": "build"})
    tool = page.locator(".tool")
    expect(tool).to_contain_text("running")
    tool.locator("summary").click()
    expect(tool).to_contain_text('"query": "build"')
    answer.tool("search", id="1", status="success", output={"hits": 3})
    expect(tool).to_contain_text('"hits": 3')
    expect(tool).to_have_attribute("open", "")
    answer.token("Done.")
    answer.sources(
        {"title": "Runbook", "url": "https://example.com/r", "text": "Renew it.", "score": 0.9}, {"title": "B"}
    )
    answer.say("quality_score", score=0.87)
    answer.say("metadata", model="gpt-x", usage={"input_tokens": 1200, "output_tokens": 345})
    answer.__exit__(None, None, None)
    expect(written.activity).to_be_hidden()
    expect(page.get_by_text("87 %")).to_be_visible()
    reasoning = last(written).locator("summary", has_text="Reasoning")
    reasoning.click()
    expect(page.get_by_text("I look at the log.")).to_be_visible()
    source = page.get_by_role("region", name="Sources").get_by_role("listitem").first
    source.locator("summary").click()
    expect(source.get_by_text("Renew it.")).to_be_visible()
    expect(source.get_by_role("link", name="Open example.com")).to_have_attribute("href", "https://example.com/r")
    usage = page.get_by_role("button", name="About this answer: gpt-x · 1,545 tokens (1,200 in, 345 out)")
    usage.focus()
    expect(usage.locator(".usage-text")).to_be_visible()
    expect(page.locator("summary", has_text=re.compile(r"^1 step, "))).to_be_visible()
    page.reload()
    expect(page.get_by_text("87 %")).to_be_visible()
    expect(page.get_by_role("region", name="Sources").get_by_role("listitem")).to_have_count(2)


def test_an_agent_may_tell_its_model_before_anything_else_and_never_what_it_cost(written: Chat, writer: Writer) -> None:
    answer = ask(written, writer, "model")
    answer.say("metadata", model="gpt-x")
    answer.token("Half")
    expect(written.answers).to_have_text(["Half"])
    written.say("one more")
    expect(queue(written.page)).to_contain_text(["one more"])
    answer.token(" and half.")
    answer.__exit__(None, None, None)
    expect(written.page.get_by_role("button", name="About this answer: gpt-x")).to_be_visible()
    writer.answer("one more").__exit__(None, None, None)


def test_in_a_narrow_window_a_long_stage_leaves_its_time_whole_beside_it(written: Chat, writer: Writer) -> None:
    written.page.set_viewport_size({"width": 390, "height": 844})
    answer = ask(written, writer, "narrow")
    answer.stage("Searching the archive for all that was ever said about the matter")
    seconds = written.activity.locator(".activity-seconds")
    expect(seconds).to_be_visible()
    assert seconds.evaluate("seconds => seconds.offsetHeight") < 30, "its unit has wrapped"
    assert written.activity.evaluate("line => line.offsetHeight") < 30, "it takes more than a line"


def test_only_links_that_are_safe_can_be_followed(written: Chat, writer: Writer) -> None:
    with ask(written, writer, "links") as answer:
        answer.token("Look.")
        answer.sources({"title": "Bad", "url": "javascript:alert(1)", "text": "Do not."})
    source = written.page.get_by_role("region", name="Sources").get_by_role("listitem")
    source.locator("summary").click()
    expect(source.get_by_role("link")).to_have_count(0)


def test_a_source_of_which_only_the_title_is_known_does_not_fold_open(written: Chat, writer: Writer) -> None:
    answer = ask(written, writer, "bare")
    answer.sources({"title": "Known by name"})
    sources = written.page.get_by_role("region", name="Sources").get_by_role("listitem")
    expect(sources).to_have_text(["Known by name"])
    expect(sources.locator("summary")).to_have_count(0)
    answer.sources({"title": "Known by name", "text": "And by its words."})
    expect(sources.locator("summary")).to_have_count(1)


def test_a_handoff_without_words_says_that_it_is_one(written: Chat, writer: Writer) -> None:
    with ask(written, writer, "hand over") as answer:
        answer.say("handoff")
        answer.token("Here I am.")
    expect(written.answers).to_have_text(["Handed over.", "Here I am."])


def test_a_question_to_go_on_with_is_asked_by_its_button_and_then_gone(written: Chat, writer: Writer) -> None:
    with ask(written, writer, "follow") as answer:
        answer.token("Yes.")
        answer.say("follow_up_questions", questions=["Why is that?", "Since when?"])
    group = written.page.get_by_role("group", name="Questions to go on with")
    group.get_by_role("button", name="Why is that?").dblclick()
    expect(written.said).to_have_text(["follow", "Why is that?"])
    expect(group).to_have_count(0)
    with writer.answer("Why is that?") as answer:
        answer.token("Because.")
    expect(written.answers).to_have_text(["Yes.", "Because."])


def test_stop_stands_in_the_place_of_send_and_keeps_what_was_written(written: Chat, writer: Writer) -> None:
    page = written.page
    stop, send = page.get_by_role("button", name="Stop the answer"), page.locator("#composer button[type=submit]")
    expect(send).to_be_visible()
    expect(stop).to_be_hidden()
    answer = ask(written, writer, "stop")
    answer.token("As far as this.")
    expect(stop).to_be_visible()
    expect(send).to_be_hidden()
    expect(written.answers).to_have_text(["As far as this."])
    written.text.fill("something to send as well")
    expect(send).to_be_visible()
    written.text.fill("")
    stop.click()
    expect(stop).to_be_hidden()
    expect(written.text).to_be_focused()
    expect(last(written)).to_contain_text("Stopped")
    expect(written.answers).to_have_text(["As far as this."])


def test_escape_stops_an_answer_but_not_while_it_closes_something_else(written: Chat, writer: Writer) -> None:
    page = written.page
    ask(written, writer, "escape")
    expect(written.activity).to_be_visible()
    page.get_by_role("button", name="Delete this conversation").click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(written.activity).to_be_visible()
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_role("button", name="Conversations").click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Close the list")).to_be_hidden()
    expect(written.activity).to_be_visible()
    written.text.focus()
    page.keyboard.press("Escape")
    expect(written.activity).to_be_hidden()
    expect(last(written)).to_contain_text("Stopped")
    action(last(written), "Ask again").click()
    with writer.answer("escape", 2) as answer:
        answer.token("At last.")
    expect(written.answers).to_have_text(["At last."])


def test_another_answer_stands_beside_the_first_and_arrows_lead_between_them(written: Chat, writer: Writer) -> None:
    with ask(written, writer, "again") as answer:
        answer.token("The first.")
    action(last(written), "Answer again").click()
    expect(written.answers).to_have_count(0)
    with writer.answer("again", 2) as answer:
        answer.token("The second.")
    expect(written.answers).to_have_text(["The second."])
    expect(last(written)).to_contain_text("2/2")
    other = written.another_tab()
    action(last(written), "Previous version").click()
    for tab in (written, other):
        expect(tab.answers).to_have_text(["The first."])
        expect(last(tab)).to_contain_text("1/2")
    expect(action(last(written), "Previous version")).to_be_disabled()
    with ask(written, writer, "go on from here") as answer:
        answer.token("Gladly.")
    expect(written.answers).to_have_text(["The first.", "Gladly."])
    action(written.page.locator("#messages .message").nth(1), "Next version").focus()
    written.page.keyboard.press("Enter")
    expect(written.answers).to_have_text(["The second."])
    expect(written.text).to_be_focused()  # there is no further version
    action(last(written), "Answer again").click()
    with writer.answer("again", 3) as answer:
        answer.token("The third.")
    expect(written.answers).to_have_text(["The third."])
    action(last(written), "Previous version").focus()
    for shown in ("The second.", "The first."):  # step by step: the button that was pressed keeps the focus
        expect(action(last(written), "Previous version")).to_be_focused()
        written.page.keyboard.press("Enter")
        expect(written.answers.first).to_have_text(shown)
    action(written.page.locator("#messages .message").nth(1), "Next version").click()
    expect(written.answers).to_have_text(["The second."])
    written.page.reload()
    expect(written.answers).to_have_text(["The second."])


def test_what_became_of_another_version_is_not_told_beside_the_one_that_is_shown(written: Chat, writer: Writer) -> None:
    with ask(written, writer, "versions") as answer:
        answer.token("The good one.")
    action(last(written), "Answer again").click()
    answer = writer.answer("versions", 2)
    answer.token("The bad")
    answer.fail("boom")
    expect(written.failures).to_contain_text("boom")
    action(last(written), "Previous version").click()
    expect(written.answers).to_have_text(["The good one."])
    expect(written.failures).to_have_count(0)
    action(last(written), "Next version").click()
    expect(written.answers).to_have_text(["The bad"])
    expect(written.failures).to_have_count(1)


def test_from_another_answer_that_failed_there_is_a_way_back(written: Chat, writer: Writer) -> None:
    with ask(written, writer, "the way back") as answer:
        answer.token("The good one.")
    action(last(written), "Answer again").click()
    writer.answer("the way back", 2).fail("boom")
    action(written.failures, "Earlier answer").click()
    expect(written.answers).to_have_text(["The good one."])
    expect(written.failures).to_have_count(0)


def test_a_question_is_put_in_other_words_and_the_old_ones_stay_within_reach(written: Chat, writer: Writer) -> None:
    with ask(written, writer, "edit me") as answer:
        answer.token("An answer.")
    expect(action(last(written), "Copy")).to_be_visible()
    question = written.page.locator("#messages .message").first
    question.hover()
    action(question, "Edit").click()
    field = written.page.get_by_label("Your message")
    expect(field).to_be_focused()
    field.press("Escape")
    expect(action(question, "Edit")).to_be_focused()
    action(question, "Edit").click()
    field.fill("edited")
    field.press("Enter")
    expect(written.said).to_have_text(["edited"])
    with writer.answer("edited") as answer:
        answer.token("Another answer.")
    expect(written.answers).to_have_text(["Another answer."])
    action(written.page.locator("#messages .message").first, "Previous version").click()
    expect(written.said).to_have_text(["edit me"])
    expect(written.answers).to_have_text(["An answer."])


def queue(page: Page) -> Locator:
    return page.get_by_role("list", name="Questions that wait").get_by_role("listitem")


def test_what_is_asked_meanwhile_waits_in_sight_and_can_be_changed_taken_back_or_sent_now(
    written: Chat, writer: Writer
) -> None:
    page = written.page
    answer = ask(written, writer, "queue 1")
    answer.token("Being written")
    for text in ("queue 2", "queue 3", "queue 4"):
        written.say(text)
    expect(queue(page)).to_contain_text(["queue 2", "queue 3", "queue 4"])
    expect(page.get_by_text("Queued: each is asked when the answer before it is there")).to_be_visible()
    expect(page.get_by_text("Queued")).to_have_count(1)
    page.reload()
    expect(queue(page)).to_contain_text(["queue 2", "queue 3", "queue 4"])
    action(queue(page).nth(0), "Edit").click()
    page.get_by_label("Your message").fill("queue 2, in other words")
    page.keyboard.press("Enter")
    expect(queue(page)).to_contain_text(["queue 2, in other words", "queue 3", "queue 4"])
    action(queue(page).nth(1), "Remove").click()
    expect(queue(page)).to_have_count(2)
    expect(queue(page)).to_contain_text(["queue 2, in other words", "queue 4"])
    action(queue(page).nth(1), "Send now").click()
    expect(written.said).to_have_text(["queue 1", "queue 4"])
    expect(queue(page)).to_contain_text(["queue 2, in other words"])
    with writer.answer("queue 4") as now:
        now.token("Now.")
    with writer.answer("queue 2, in other words") as then:
        then.token("Then.")
    expect(queue(page)).to_have_count(0)
    expect(page.get_by_text("Queued")).to_be_hidden()
    expect(written.said).to_have_text(["queue 1", "queue 4", "queue 2, in other words"])
    expect(written.answers).to_have_text(["Being written", "Now.", "Then."])
    assert writer.asked("queue 3") == []


def test_what_is_being_put_in_other_words_is_kept_wherever_its_message_goes(written: Chat, writer: Writer) -> None:
    page = written.page
    answer = ask(written, writer, "edit 1")
    written.say("edit 2")
    action(queue(page).nth(0), "Edit").click()
    field = page.get_by_label("Your message")
    field.fill("edit 2, half in other w")
    here = page.url
    page.get_by_role("link", name="New conversation").click()
    expect(field).to_have_count(0)
    page.goto(here) if page.url == here else page.go_back()
    expect(field).to_have_value("edit 2, half in other w")
    field.focus()
    answer.token("Done.")
    answer.__exit__(None, None, None)
    writer.answer("edit 2").__enter__()
    expect(queue(page)).to_have_count(0)


def test_what_could_not_be_done_in_one_conversation_is_not_tried_in_another(written: Chat, writer: Writer) -> None:
    page = written.page
    with ask(written, writer, "here") as answer:
        answer.token("Yes.")
    page.route("**/regenerate", lambda route: route.fulfill(status=503, json={}))
    action(last(written), "Answer again").click()
    trouble = page.get_by_role("region", name="What could not be done")
    expect(trouble).to_be_visible()
    page.get_by_role("link", name="New conversation").click()
    expect(trouble).to_be_hidden()


def test_a_failure_is_read_aloud(written: Chat, writer: Writer) -> None:
    live = written.page.get_by_role("log", name="New messages")
    answer = ask(written, writer, "fail aloud")
    answer.say("error", message="There is no more paper.")
    expect(live).to_have_text("There is no more paper.")


def test_an_answer_is_judged_by_a_thumb_and_more_and_that_can_be_changed(written: Chat, writer: Writer) -> None:
    page = written.page
    with ask(written, writer, "judge") as answer:
        answer.token("Well.")
    down, up = page.get_by_role("button", name="Bad answer"), page.get_by_role("button", name="Good answer")
    down.click()
    expect(down).to_have_attribute("aria-pressed", "true")
    form = page.locator("form.feedback")
    form.get_by_label("What was wrong?").select_option("Too long")
    form.get_by_label("Comment").fill("Much too long.")
    form.get_by_role("button", name="Send").click()
    expect(form).to_be_hidden()
    page.reload()
    expect(down).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Say why").click()
    expect(form.get_by_label("Comment")).to_have_value("Much too long.")
    expect(form.get_by_label("What was wrong?")).to_have_value("ResponseTooLong")
    up.click()
    expect(up).to_have_attribute("aria-pressed", "true")
    expect(down).to_have_attribute("aria-pressed", "false")
    expect(form.get_by_label("What was wrong?")).to_be_hidden()
    up.click()
    expect(up).to_have_attribute("aria-pressed", "false")
    expect(form).to_be_hidden()


def test_what_the_agent_asks_is_answered_by_the_composer(written: Chat, writer: Writer) -> None:
    answer = ask(written, writer, "ask me")
    answer.token("First a question.")
    answer._end("question", text="Which build?")
    expect(written.activity).to_contain_text("waits for your answer")
    expect(last(written)).to_contain_text("Atlas asks")
    expect(written.text).to_have_attribute("placeholder", "Answer Atlas")
    with ask(written, writer, "the last one") as answer:
        answer.token("Thank you.")
    expect(written.answers).to_have_text(["First a question.", "Which build?", "Thank you."])


def test_an_agent_that_fails_in_the_middle_keeps_what_it_wrote_and_can_be_asked_again(
    written: Chat, writer: Writer
) -> None:
    answer = ask(written, writer, "break")
    answer.token("Until here")
    answer._end("error", message="The model is overloaded.")
    expect(written.answers).to_have_text(["Until here"])
    expect(written.failures).to_contain_text("The model is overloaded.")
    written.failures.get_by_text("Details").click()
    expect(written.failures).to_contain_text("ended as error")
    written.failures.get_by_role("button", name="Retry").click()
    with writer.answer("break", 2) as answer:
        answer.token("All of it.")
    expect(written.answers).to_have_text(["All of it."])
    expect(written.failures).to_have_count(0)


def test_without_streaming_answers_appear_whole_and_that_stays_chosen(written: Chat, writer: Writer) -> None:
    page = written.page
    answer = ask(written, writer, "whole")
    answer.token("Half")
    expect(written.answers).to_have_text(["Half"])
    page.get_by_label("Stream answers").uncheck()
    expect(written.answers).to_have_count(0)
    page.reload()
    written.expect_connected()
    expect(page.get_by_label("Stream answers")).not_to_be_checked()
    answer.token(" and half.")
    expect(written.activity).to_be_visible()
    answer.__exit__(None, None, None)
    expect(written.answers).to_have_text(["Half and half."])


def test_only_whole_answers_are_read_aloud(written: Chat, writer: Writer) -> None:
    live = written.page.get_by_role("log", name="New messages")
    answer = ask(written, writer, "aloud")
    answer.token("Word by word.")
    expect(written.answers).to_have_text(["Word by word."])
    expect(live).to_be_empty()
    answer.__exit__(None, None, None)
    expect(live).to_have_text("Atlas: Word by word.")


def limited(seconds: int) -> dict[str, Any]:
    return {
        "error": {
            "code": "too_many_answers",
            "message": "That is enough for now; wait a little",
            "retry_after": seconds,
        }
    }


def test_a_limit_is_told_with_the_time_left_and_sends_when_that_is_over(written: Chat, writer: Writer) -> None:
    page = written.page
    with ask(written, writer, "before the limit") as answer:
        answer.token("Yes.")
    page.clock.install()
    page.route("**/messages", lambda route: route.fulfill(status=429, json=limited(30)))
    written.say("too much")
    expect(written.failures).to_contain_text("That is enough for now.")
    expect(written.failures).to_contain_text(re.compile(r"You can send it again in \d+ s\."))
    expect(written.failures).not_to_contain_text("wait a little")
    again = written.failures.get_by_role("button", name="Send again")
    expect(again).to_be_disabled()
    page.unroute("**/messages")
    page.clock.fast_forward(31_000)
    expect(again).to_be_enabled()
    again.click()
    writer.answer("too much")
    expect(written.failures).to_have_count(0)


def test_what_could_not_be_done_is_told_above_the_composer_with_the_time_left(written: Chat, writer: Writer) -> None:
    with ask(written, writer, "limited again") as answer:
        answer.token("Yes.")
    written.page.route("**/regenerate", lambda route: route.fulfill(status=429, json=limited(30)))
    action(last(written), "Answer again").click()
    trouble = written.page.get_by_role("region", name="What could not be done")
    expect(trouble).to_contain_text("That is enough for now.")
    expect(trouble).to_contain_text(re.compile(r"Again in \d+ s\."))
    expect(trouble).not_to_contain_text("wait a little")
    expect(trouble.get_by_role("button", name="Try again")).to_be_disabled()
    trouble.get_by_role("button", name="Close").click()
    expect(trouble).to_be_hidden()
