"""Answers that come in pieces: in any order, late, doubled, from two at once; and what is kept of them."""

import json
from itertools import permutations
from types import SimpleNamespace
from typing import Any

import pytest

from agents import outbox
from chat import drafts, runs
from chat.errors import Invalid, NotFound
from chat.events import Tool
from chat.models import Run
from chat.store import Store
from tests.acts import call, history, newest_run, open_thread, say, spoken, token, write

DONE = {"type": "done"}
PIECES = (token("Hel"), token("lo, 😀"), token(" wörld"), {"type": "sources", "sources": [{"title": "A"}]}, DONE)
TEXT = "Hello, 😀 wörld"


@pytest.fixture
def asked(store: Store, people: SimpleNamespace) -> SimpleNamespace:
    return ask(store, people)


def ask(store: Store, people: SimpleNamespace) -> SimpleNamespace:
    """Alice has asked; what is rung from now on is `told`."""
    thread = open_thread(store, people.alice)
    say(store, people.alice, thread)
    run = newest_run(store, thread)["id"]
    store.rung.clear()
    return SimpleNamespace(store=store, people=people, agent=people.agent, thread=thread, run=run)


def put(asked: SimpleNamespace, *events: dict[str, Any], **more: Any) -> Any:
    return write(asked.store, asked.agent, asked.thread, asked.run, *events, **more)


def answers(asked: SimpleNamespace) -> list[dict[str, Any]]:
    items = history(asked.store, asked.people.alice, asked.thread)["items"]
    return [message for message in items if message["direction"] == "outgoing"]


def partial(asked: SimpleNamespace) -> dict[str, Any]:
    return asked.store.read(lambda s: drafts.partial(s, asked.people.alice, asked.run))


def frames(asked: SimpleNamespace) -> list[tuple[str, dict[str, Any]]]:
    """What those who watch were told besides the log."""
    return [(event.kind, json.loads(bytes(event.data))) for _, _, event in asked.store.rung if not event.seq]


def test_pieces_in_any_order_make_the_same_answer(store: Store, people: SimpleNamespace) -> None:
    """R21."""
    for order in permutations(range(5)):
        asked = ask(store, people)
        receipts = [put(asked, PIECES[index], index=index) for index in order]
        assert {receipt.status for receipt in receipts} == {200}, order
        assert receipts[-1].body["have"] == 5, order
        [answer] = answers(asked)
        assert (answer["text"], answer["parts"]) == (TEXT, {"sources": [{"title": "A"}]}), order
        assert newest_run(asked.store, asked.thread)["status"] == "success", order


@pytest.mark.parametrize("order", list(permutations(range(5)))[::17], ids=str)
def test_what_watchers_are_told_makes_the_answer_too(asked: SimpleNamespace, order: tuple[int, ...]) -> None:
    for index in order:
        put(asked, PIECES[index], index=index)
    text, count = "", 0
    for kind, data in frames(asked):
        assert data["since"] == count, "nothing is left out between two frames"
        count = data["count"]
        if kind == "delta":
            assert data["at"] == len(text.encode("utf-16-le")) // 2
            text += data["text"]
    assert (text, count) == (TEXT, 4)


def test_pieces_that_come_again_change_nothing(asked: SimpleNamespace) -> None:
    for index, piece in enumerate(PIECES):
        put(asked, piece, index=index)
        again = put(asked, piece, index=index)
        assert (again.status, again.replayed) == (200, True)
    assert [answer["text"] for answer in answers(asked)] == [TEXT]
    again = put(asked, *PIECES, index=0)
    assert (again.status, again.replayed, again.body["message_id"]) == (200, True, answers(asked)[0]["id"])


def test_what_overlaps_with_what_is_known_is_taken_from_there_on(asked: SimpleNamespace) -> None:
    put(asked, *PIECES[:2], index=0)
    put(asked, *PIECES[1:4], index=1)
    assert (partial(asked)["text"], partial(asked)["count"]) == (TEXT, 4)


def test_a_batch_without_numbers_needs_a_key(asked: SimpleNamespace) -> None:
    refused = put(asked, token("a"))
    assert (refused.status, refused.body["error"]["code"]) == (400, "no_key")
    assert put(asked, token("a"), key="1").body["have"] == 1
    assert put(asked, token("a"), key="1").replayed
    assert put(asked, token("a"), key="2").body["have"] == 2
    assert partial(asked)["text"] == "aa"


def test_an_end_that_counts_more_than_has_come_is_refused_and_says_where_to_go_on(asked: SimpleNamespace) -> None:
    put(asked, token("a"), key="1")
    refused = put(asked, {"type": "done", "count": 2}, key="2")
    assert (refused.status, refused.body["error"]["code"], refused.body["have"]) == (409, "incomplete", 1)
    put(asked, token("b"), key="3")
    assert put(asked, {"type": "done", "count": 2}, key="2").status == 200
    assert [answer["text"] for answer in answers(asked)] == ["ab"]


def test_after_the_end_nothing_changes(asked: SimpleNamespace) -> None:
    put(asked, *PIECES, index=0)
    late = put(asked, token(" more"), index=5)
    assert (late.status, late.body["error"]["code"], late.body["have"]) == (409, "run_ended", 5)
    assert [answer["text"] for answer in answers(asked)] == [TEXT]


@pytest.mark.parametrize("status", runs.FAILED)
def test_whatever_the_end_what_was_written_is_kept(asked: SimpleNamespace, status: str) -> None:
    """P34."""
    put(asked, *PIECES[:2], index=0)
    asked.store.write(lambda s: drafts.end(s, s.get_one(Run, asked.run), status, "why"))
    [answer] = answers(asked)
    assert (answer["text"], answer["run_id"]) == ("Hello, 😀", asked.run)
    assert partial(asked)["text"] == "Hello, 😀"
    assert put(asked, PIECES[2], index=2).status == 409
    assert len(answers(asked)) == 1


def test_a_run_that_has_written_nothing_leaves_no_message(asked: SimpleNamespace) -> None:
    put(asked, {"type": "stage", "name": "retrieval"}, index=0)
    asked.store.write(lambda s: drafts.end(s, s.get_one(Run, asked.run), "timeout", "why"))
    assert answers(asked) == []


def test_a_whole_answer_takes_the_place_of_its_pieces(asked: SimpleNamespace) -> None:
    put(asked, *PIECES[:2], PIECES[3], index=0)
    call(asked.store, asked.agent, {"thread_id": asked.thread, "run_id": asked.run, **spoken("All of it.")})
    [answer] = answers(asked)
    assert (answer["text"], answer["parts"]) == ("All of it.", {"sources": [{"title": "A"}]})
    assert put(asked, token("late"), index=3).status == 409


def test_a_whole_answer_that_comes_late_takes_the_place_of_what_was_kept(asked: SimpleNamespace) -> None:
    put(asked, *PIECES[:2], index=0)
    asked.store.write(lambda s: drafts.end(s, s.get_one(Run, asked.run), "lost", "why"))
    [kept] = answers(asked)
    call(asked.store, asked.agent, {"thread_id": asked.thread, "run_id": asked.run, **spoken("All of it.")})
    [answer] = answers(asked)
    assert (answer["id"], answer["text"]) == (kept["id"], "All of it.")
    assert answer["rev"] > kept["rev"]
    assert newest_run(asked.store, asked.thread)["status"] == "success"


def test_a_stopped_run_takes_nothing_more(asked: SimpleNamespace) -> None:
    asked.store.write(lambda s: drafts.end(s, s.get_one(Run, asked.run), "stopped"))
    late = call(asked.store, asked.agent, {"thread_id": asked.thread, "run_id": asked.run, **spoken("Still here")})
    assert (late.status, late.body["error"]["code"]) == (409, "run_ended")
    for kind in ("reasoning", "tool", "notice"):
        body = {"thread_id": asked.thread, "run_id": asked.run, **spoken("By the way", kind=kind)}
        assert call(asked.store, asked.agent, body, key=kind).status == 409
    assert answers(asked) == []


def test_an_answer_said_in_pieces_and_then_whole_is_one(asked: SimpleNamespace) -> None:
    put(asked, *PIECES, index=0)
    body = {"thread_id": asked.thread, "run_id": asked.run, **spoken(TEXT)}
    again = call(asked.store, asked.agent, body)
    assert (again.status, again.replayed, len(answers(asked))) == (200, True, 1)


def test_a_run_that_the_agent_begins_itself_is_opened(asked: SimpleNamespace) -> None:
    receipt = write(asked.store, asked.agent, asked.thread, "mine", *PIECES, index=0)
    assert receipt.status == 200
    assert [answer["text"] for answer in answers(asked)] == [TEXT]


def test_two_agents_who_use_the_same_run_id_do_not_meet(store: Store, people: SimpleNamespace) -> None:
    texts = {}
    for who, agent in ((people.alice, people.agent), (people.charlie, people.evil_agent)):
        thread = open_thread(store, who)
        write(store, agent, thread, "run-1", token(who.user.name), index=0)
        write(store, agent, thread, "run-1", DONE, index=1)
        texts[who.user.name] = [message["text"] for message in history(store, who, thread)["items"]]
    assert texts == {"alice@example.com": ["alice@example.com"], "charlie@example.com": ["charlie@example.com"]}


def test_a_question_keeps_what_was_said_and_waits(asked: SimpleNamespace) -> None:
    put(asked, token("Well."), {"type": "question", "text": "Which one?"}, index=0)
    assert [answer["text"] for answer in answers(asked)] == ["Well.", "Which one?"]
    assert newest_run(asked.store, asked.thread)["status"] == "waiting"
    assert put(asked, token("more"), index=2).status == 409


def test_an_error_says_why_and_keeps_what_was_said(asked: SimpleNamespace) -> None:
    put(asked, token("Well"), {"type": "error", "message": "out of tokens"}, index=0)
    run = newest_run(asked.store, asked.thread)
    assert (run["status"], run["error"], answers(asked)[0]["text"]) == ("error", "out of tokens", "Well")


def test_an_answer_without_words_is_an_error(asked: SimpleNamespace) -> None:
    put(asked, DONE, index=0)
    assert newest_run(asked.store, asked.thread)["status"] == "error"


def test_all_that_stands_beside_an_answer_is_kept(asked: SimpleNamespace) -> None:
    put(
        asked,
        {"type": "stage", "name": "retrieval"},
        {"type": "stage", "name": "generation"},
        {"type": "reasoning", "text": "Let me "},
        {"type": "reasoning", "text": "think."},
        {"type": "tool", "name": "search", "id": "1", "input": {"q": "x"}},
        {"type": "tool", "name": "search", "id": "1", "status": "success", "output": "y"},
        {"type": "sources", "sources": [{"title": "A"}]},
        {"type": "sources", "sources": [{"title": "B", "url": "https://example.com"}]},
        token("Said."),
        {"type": "quality_score", "score": 0.85},
        {"type": "follow_up_questions", "questions": ["And then?"]},
        {"type": "metadata", "model": "m-1", "usage": {"input_tokens": 3, "output_tokens": 4}, "data": {"a": 1}},
        DONE,
        index=0,
    )
    [answer] = answers(asked)
    parts = answer["parts"]
    assert [stage.pop("name") for stage in parts["stages"]] == ["retrieval", "generation"]
    assert all(stage["duration_ms"] >= 0 for stage in parts.pop("stages"))
    assert parts == {
        "reasoning": "Let me think.",
        "tools": [{"name": "search", "id": "1", "status": "success", "input": {"q": "x"}, "output": "y"}],
        "sources": [{"title": "A"}, {"title": "B", "url": "https://example.com"}],
        "quality_score": 0.85,
        "follow_up_questions": ["And then?"],
        "model": "m-1",
        "usage": {"input_tokens": 3, "output_tokens": 4},
        "metadata": {"a": 1},
    }


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ({"type": "tokn", "text": "x"}, "events[0].type"),
        ({"text": "x"}, "events[0].type"),
        ({"type": "token"}, "events[0].text"),
        ({"type": "token", "text": "\x00"}, "events[0]"),
        ({"type": "token", "text": "x" * 70_000}, "events[0]"),
        ({"type": "quality_score", "score": 3}, "events[0].score"),
        ({"type": "sources", "sources": [{"title": 1}]}, "events[0].sources[0].title"),
        ({"type": "done", "count": -1}, "events[0].count"),
        ({"type": "message", "text": "x" * 300_000}, "events[0].text"),
        ({"type": "message", "text": "x", "data": {"a": "x" * 300_000}}, "events[0].data"),
        *(({"type": kind, "text": "x", "data": {"a": "x" * 70_000}}, "events[0]") for kind in ("question", "handoff")),
        ({"type": "metadata", "data": {"a": "x" * 70_000}}, "events[0]"),
    ],
)
def test_what_is_no_event_is_refused_by_name_and_nothing_is_taken(
    asked: SimpleNamespace, event: dict[str, Any], field: str
) -> None:
    refused = put(asked, event, index=0)
    assert (refused.status, refused.body["error"]["field"]) == (400, field)
    assert partial(asked)["count"] == 0


def test_an_answer_that_grows_too_long_is_refused(asked: SimpleNamespace) -> None:
    for index in range(8):
        assert put(asked, token("x" * 32_768), index=index).status == 200
    refused = put(asked, token("x"), index=8)
    assert (refused.status, refused.body["error"]["code"]) == (400, "too_long")
    assert len(partial(asked)["text"]) == 262_144


def test_events_too_far_ahead_are_refused(asked: SimpleNamespace) -> None:
    refused = put(asked, token("x"), index=5000)
    assert (refused.status, refused.body["error"]["code"], refused.body["have"]) == (409, "too_far_ahead", 0)


def test_nobody_sees_what_is_written_for_another(asked: SimpleNamespace) -> None:
    put(asked, token("secret"), index=0)
    for who in (asked.people.bob, asked.people.charlie):
        with pytest.raises(NotFound):
            asked.store.read(lambda s, who=who: drafts.partial(s, who, asked.run))
    assert asked.store.read(lambda s: drafts.partials(s, ["elsewhere"])) == []
    [event] = asked.store.read(lambda s: drafts.partials(s, [asked.thread]))
    assert json.loads(bytes(event.data))["text"] == "secret"


def test_of_two_attempts_to_answer_the_first_to_say_a_word_goes_on(asked: SimpleNamespace) -> None:
    put(asked, token("One "), index=0, writer="one")
    for index in (0, 1):
        late = put(asked, token("Two "), index=index, writer="two")
        assert (late.status, late.body["error"]["code"], late.body["have"]) == (409, "other_writer", 1)
    put(asked, token("answer"), DONE, index=1, writer="one")
    assert [answer["text"] for answer in answers(asked)] == ["One answer"]


def test_what_one_attempt_said_too_early_is_not_taken_for_another_s_words(asked: SimpleNamespace) -> None:
    put(asked, token("one's"), index=1, writer="one")
    for index, event in enumerate((token("all "), token("two's"), DONE)):
        assert put(asked, event, index=index, writer="two").status == 200
    assert [answer["text"] for answer in answers(asked)] == ["all two's"]


def test_nor_is_it_where_the_other_streams(asked: SimpleNamespace) -> None:
    put(asked, token("one's"), index=1, writer="one")
    asked.store.write(lambda s: drafts.take_pen(s, asked.agent, asked.thread, asked.run, 0, "two"))
    put(asked, token("all "), index=0, writer="two")
    assert (partial(asked)["text"], partial(asked)["count"]) == ("all ", 1)


def test_what_comes_after_a_question_that_was_answered_takes_no_place_of_what_was_kept(asked: SimpleNamespace) -> None:
    put(asked, token("Let me check."), {"type": "question", "text": "Which one?"}, index=0)
    say(asked.store, asked.people.alice, asked.thread, "The blue one.")
    put(SimpleNamespace(**{**vars(asked), "run": newest_run(asked.store, asked.thread)["id"]}), *PIECES, index=0)
    late = call(asked.store, asked.agent, {"thread_id": asked.thread, "run_id": asked.run, **spoken("Late")})
    assert (late.status, late.body["error"]["code"]) == (409, "run_answered")
    assert [answer["text"] for answer in answers(asked)] == ["Let me check.", "Which one?", TEXT]


def test_nor_does_it_come_between_a_question_and_what_was_said_to_it(asked: SimpleNamespace) -> None:
    put(asked, {"type": "question", "text": "Which one?"}, index=0)
    say(asked.store, asked.people.alice, asked.thread, "The blue one.")
    late = call(asked.store, asked.agent, {"thread_id": asked.thread, "run_id": asked.run, **spoken("Late")})
    assert (late.status, late.body["error"]["code"]) == (409, "run_answered")


def test_a_message_with_a_status_that_says_it_failed_is_refused(asked: SimpleNamespace) -> None:
    body = {"thread_id": asked.thread, "run_id": asked.run, "status": "error", **spoken()}
    assert call(asked.store, asked.agent, body).status == 400
    assert call(asked.store, asked.agent, {**body, "status": "success"}).status == 200


def test_what_comes_whole_while_a_question_waits_stands_below_it(asked: SimpleNamespace) -> None:
    put(asked, token("Let me check."), {"type": "question", "text": "Which one?"}, index=0)
    call(asked.store, asked.agent, {"thread_id": asked.thread, "run_id": asked.run, **spoken("Never mind.")})
    assert [answer["text"] for answer in answers(asked)] == ["Let me check.", "Which one?", "Never mind."]


def test_those_that_are_lost_together_are_ended_some_at_a_time(
    store: Store, people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "AT_ONCE", 2)
    lost = [ask(store, people) for _ in range(3)]
    for asked in lost:
        store.write(lambda s: outbox.accepted(s, outbox.claim(s, 5.0)))
        put(asked, token("Half"), index=0)
    assert [store.write(lambda s: drafts.end_lost(s, -1)) for _ in range(3)] == [2, 1, 0]
    assert {newest_run(store, asked.thread)["status"] for asked in lost} == {"lost"}


def test_what_stands_beside_an_answer_and_is_refused_is_not_kept(asked: SimpleNamespace) -> None:
    pen = asked.store.write(lambda s: drafts.take_pen(s, asked.agent, asked.thread, asked.run, 0))
    for number in range(4):
        pen.add(Tool("find", str(number), output="x" * 60_000))
    with pytest.raises(Invalid):
        pen.add(Tool("find", "4", output="x" * 60_000))
    assert (len(pen.draft.tools), pen.count) == (4, 4)


def test_who_hands_over_and_is_done_has_not_failed(asked: SimpleNamespace) -> None:
    put(asked, {"type": "handoff", "text": "Over to Ann."}, DONE, index=0)
    assert newest_run(asked.store, asked.thread)["status"] == "success"
    assert [answer["text"] for answer in answers(asked)] == ["Over to Ann."]


@pytest.mark.parametrize("status", ["error", "timeout", "interrupted"])
def test_that_an_answer_failed_may_be_said_twice_and_changes_nothing(asked: SimpleNamespace, status: str) -> None:
    put(asked, token("Half an answer"), {"type": "error", "message": "The model is away."}, index=0)
    before = newest_run(asked.store, asked.thread), answers(asked)
    told = {"thread_id": asked.thread, "run_id": asked.run, "status": status, "values": {}, "error": "boom"}
    assert call(asked.store, asked.agent, told).status == 200
    assert (newest_run(asked.store, asked.thread), answers(asked)) == before
    assert partial(asked)["text"] == "Half an answer"


@pytest.mark.parametrize("last", [DONE, {"type": "message", "text": " "}])
def test_an_answer_without_words_has_failed_and_what_stood_beside_them_stays(
    asked: SimpleNamespace, last: dict[str, Any]
) -> None:
    put(asked, {"type": "tool", "name": "search", "status": "success"}, last, index=0)
    run = newest_run(asked.store, asked.thread)
    assert (run["status"], run["error"]) == ("error", "The agent finished without an answer.")
    assert [answer["parts"]["tools"][0]["name"] for answer in answers(asked)] == ["search"]


@pytest.mark.parametrize(
    ("event", "field", "what"),
    [
        ({"type": "tokn", "text": "x"}, "events[0].type", "no such event; there are token, delta, reasoning"),
        ({"type": "tool", "name": "x", "status": "odd"}, "events[0].status", "must be one of running, success"),
        ({"type": "metadata", "usage": {"total_tokens": -1}}, "events[0].usage.total_tokens", ">= 0"),
        ({"type": "metadata", "usage": {"total_tokens": 10**12}}, "events[0].usage.total_tokens", "<= 1000000000"),
        ({"type": "stage", "name": "x", "duration_ms": 10**30}, "events[0].duration_ms", "<= 604800000"),
        ({"type": 7}, "events[0].type", "`str`"),
        ({"text": "x"}, "events[0].type", "missing"),
    ],
)
def test_an_event_that_cannot_be_is_refused_with_its_place_and_what_may_be(
    asked: SimpleNamespace, event: dict[str, Any], field: str, what: str
) -> None:
    refused = put(asked, event, index=0)
    assert (refused.status, refused.body["error"]["field"]) == (400, field)
    assert what in refused.body["error"]["message"]
