"""What a person does about answers: stop, ask again or otherwise, put questions in order, judge. And the branches."""

from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select

from agents import outbox
from chat import drafts, turns
from chat.errors import ChatError, Conflict, Invalid, NotFound
from chat.models import Dispatch, Run
from chat.native import read_json
from chat.store import Store
from tests.acts import call, history, newest_run, open_thread, outbox_of, runs_of, say, spoken, token, told, write


class Talk:
    """Alice's conversation with her agent."""

    def __init__(self, store: Store, people: SimpleNamespace) -> None:
        self.store, self.who, self.agent = store, people.alice, people.agent
        self.thread = open_thread(store, self.who)

    def do(self, turn: Any, *more: Any, who: Any = None) -> Any:
        return self.store.write(lambda s: turn(s, who or self.who, *more))

    def say(self, text: str) -> str:
        return str(say(self.store, self.who, self.thread, text)["id"])

    def put(self) -> str:
        """The next question goes to the agent, and what it is to be told before; return the run."""
        while question := self.store.write(lambda s: outbox.claim(s, 10.0)):
            self.store.write(lambda s, question=question: outbox.accepted(s, question))
            if question.kind == "ask":
                return question.run_id
        raise AssertionError("there is no question")

    def reply(self, text: str, run: str | None = None) -> Any:
        run = run or next(run["id"] for run in runs_of(self.store, self.thread) if run["status"] == "running")
        return call(self.store, self.agent, {"thread_id": self.thread, "run_id": run, **spoken(text)})

    def answered(self, text: str, answer: str) -> str:
        """A question and its answer; return the answer's id."""
        self.say(text)
        self.put()
        return str(self.reply(answer).body["message_id"])

    @property
    def page(self) -> dict[str, Any]:
        return history(self.store, self.who, self.thread, limit=200)

    @property
    def shown(self) -> list[str]:
        """The texts of the branch that is shown, oldest first."""
        page, line = self.page, []
        by_id = {message["id"]: message for message in page["items"]}
        at = page["tip_id"]
        while at is not None:
            line.insert(0, by_id[at]["text"])
            at = by_id[at]["parent_id"]
        return line

    def told(self) -> list[tuple[int, str, dict[str, Any]]]:
        return told(self.store, self.who.participant_id)


@pytest.fixture
def talk(store: Store, people: SimpleNamespace) -> Talk:
    return Talk(store, people)


def test_what_is_said_follows_what_was_said(talk: Talk) -> None:
    talk.answered("one", "answer 1")
    talk.answered("two", "answer 2")
    assert talk.shown == ["one", "answer 1", "two", "answer 2"]


def test_questions_that_wait_move_behind_the_answer_to_the_one_before(talk: Talk) -> None:
    for text in ("one", "two", "three"):
        talk.say(text)
    assert talk.shown == ["one", "two", "three"]
    talk.put()
    talk.reply("answer 1")
    assert talk.shown == ["one", "answer 1", "two", "three"]
    talk.put()
    call(talk.store, talk.agent, {"thread_id": talk.thread, **spoken("By the way", kind="notice")}, "key")
    talk.reply("answer 2")
    talk.put()
    talk.reply("answer 3")
    assert talk.shown == ["one", "answer 1", "two", "answer 2", "three", "By the way", "answer 3"]


def test_every_message_event_says_where_the_thread_goes_on(talk: Talk) -> None:
    talk.say("one")
    talk.say("two")
    talk.put()
    talk.reply("answer 1")
    last = [data for _, kind, data in talk.told() if kind == "message"][-1]
    assert (last["text"], last["tip_id"], last["change"]) == ("two", talk.page["tip_id"], "updated")


def test_a_stopped_answer_keeps_what_was_written_and_takes_no_more(talk: Talk) -> None:
    talk.say("one")
    run = talk.put()
    write(talk.store, talk.agent, talk.thread, run, token("Half an"), index=0)
    stopped = talk.do(turns.stop, talk.thread, run)
    assert (stopped["status"], talk.shown) == ("stopped", ["one", "Half an"])
    late = write(talk.store, talk.agent, talk.thread, run, token(" answer"), index=1)
    assert (late.status, late.body["error"]["code"]) == (409, "run_ended")
    whole = talk.reply("A whole answer", run)
    assert (whole.status, whole.body["error"]["code"]) == (409, "run_ended")
    assert talk.shown == ["one", "Half an"]


def test_only_the_current_answer_can_be_stopped(talk: Talk) -> None:
    with pytest.raises(Conflict, match="nothing to stop"):
        talk.do(turns.stop, talk.thread)
    talk.say("one")
    run = talk.put()
    talk.do(turns.stop, talk.thread)
    talk.say("two")
    newer = talk.put()
    for other in (run, "nobody's"):
        with pytest.raises(Conflict, match="nothing to stop"):
            talk.do(turns.stop, talk.thread, other)
    assert talk.do(turns.stop, talk.thread, newer)["id"] == newer


def test_an_agent_that_has_the_question_is_told_that_it_was_stopped(talk: Talk) -> None:
    talk.say("one")
    talk.do(turns.stop, talk.thread)
    assert outbox_of(talk.store, talk.thread) == [], "it had not been asked"
    talk.say("two")
    run = talk.put()
    talk.do(turns.stop, talk.thread)
    talk.say("three")
    claimed = [talk.store.write(lambda s: outbox.claim(s, 10.0)) for _ in range(2)]
    assert {(found.kind, found.run_id) for found in claimed if found} == {
        ("cancel", run),
        ("ask", newest_run(talk.store, talk.thread)["id"]),
    }
    [cancel] = [found for found in claimed if found and found.kind == "cancel"]
    assert cancel.body == {"type": "cancel", "thread_id": talk.thread, "run_id": run}
    talk.store.write(lambda s: outbox.failed(s, cancel, "away", (1.0,)))
    assert len(outbox_of(talk.store, talk.thread)) == 2, "it is told again"
    talk.store.write(lambda s: s.execute(Dispatch.table().update().values(lease=cancel.lease)))
    talk.store.write(lambda s: outbox.accepted(s, cancel))
    assert len(outbox_of(talk.store, talk.thread)) == 1
    assert [run["status"] for run in runs_of(talk.store, talk.thread)] == ["stopped", "stopped", "running"]


def test_an_agent_that_does_not_listen_is_not_told_for_ever(talk: Talk) -> None:
    talk.say("one")
    run = talk.put()
    talk.do(turns.stop, talk.thread)
    cancel = talk.store.write(lambda s: outbox.claim(s, 10.0))
    assert cancel is not None
    talk.store.write(lambda s: s.execute(Run.table().update().where(Run.id == run).values(ended_at=0)))
    talk.store.write(lambda s: outbox.failed(s, cancel, "away", (1.0,)))
    assert outbox_of(talk.store, talk.thread) == []


def test_another_answer_stands_beside_the_first(talk: Talk) -> None:
    first = talk.answered("one", "answer")
    talk.do(turns.regenerate, talk.thread, first)
    assert talk.shown == ["one"]
    talk.put()
    second = talk.reply("another").body["message_id"]
    assert talk.shown == ["one", "another"]
    shown = talk.do(turns.show, talk.thread, first)
    assert (shown["tip_id"], talk.shown) == (first, ["one", "answer"])
    talk.answered("and then?", "this")
    assert talk.shown == ["one", "answer", "and then?", "this"]
    talk.do(turns.show, talk.thread, second)
    assert talk.shown == ["one", "another"]
    talk.do(turns.show, talk.thread, first)
    assert talk.shown == ["one", "answer", "and then?", "this"]


def test_an_answer_comes_where_it_was_asked_for_whatever_is_shown_then(talk: Talk) -> None:
    first = talk.answered("one", "answer")
    talk.do(turns.regenerate, talk.thread)
    talk.put()
    talk.do(turns.show, talk.thread, first)
    second = talk.reply("another").body["message_id"]
    assert talk.shown == ["one", "answer"]
    talk.do(turns.show, talk.thread, second)
    assert talk.shown == ["one", "another"]


def test_the_agent_is_told_the_branch_that_led_to_the_question(talk: Talk) -> None:
    first = talk.answered("one", "answer")
    talk.do(turns.regenerate, talk.thread)
    talk.put()
    talk.reply("another")
    talk.do(turns.show, talk.thread, first)
    talk.say("and then?")
    question = talk.store.write(lambda s: outbox.claim(s, 10.0))
    assert question is not None
    assert [message["text"] for message in question.body["history"]] == ["one", "answer"]


def test_a_question_that_was_put_is_asked_otherwise_on_another_branch(talk: Talk) -> None:
    talk.answered("zero", "answer 0")
    talk.answered("one", "answer 1")
    [asked] = [message for message in talk.page["items"] if message["text"] == "one"]
    edited = talk.do(turns.edit, asked["id"], "one, please")
    assert (edited["parent_id"], edited["tip_id"]) == (asked["parent_id"], edited["id"])
    talk.put()
    talk.reply("answer 2")
    assert talk.shown == ["zero", "answer 0", "one, please", "answer 2"]
    talk.do(turns.show, talk.thread, asked["id"])
    assert talk.shown == ["zero", "answer 0", "one", "answer 1"]


def test_the_first_question_too_can_be_asked_otherwise(talk: Talk) -> None:
    talk.answered("one", "answer 1")
    talk.do(turns.edit, talk.page["items"][0]["id"], "two")
    talk.put()
    talk.reply("answer 2")
    assert talk.shown == ["two", "answer 2"]


def test_while_an_answer_is_written_nothing_else_is_asked(talk: Talk) -> None:
    asked = talk.say("one")
    talk.put()
    for turn in (lambda: talk.do(turns.regenerate, talk.thread), lambda: talk.do(turns.edit, asked, "two")):
        with pytest.raises(Conflict) as refused:
            turn()
        assert refused.value.code == "busy"
    assert len(runs_of(talk.store, talk.thread)) == 1


def test_a_question_that_waits_is_changed_in_place(talk: Talk) -> None:
    talk.say("one")
    waits = talk.say("two")
    talk.put()
    edited = talk.do(turns.edit, waits, "two, please")
    assert (edited["id"], edited["text"]) == (waits, "two, please")
    assert edited["edited_at"] is not None
    talk.reply("answer 1")
    question = talk.store.write(lambda s: outbox.claim(s, 10.0))
    assert question is not None
    assert question.body["message"]["text"] == "two, please"


def test_a_question_that_waits_is_taken_back(talk: Talk) -> None:
    talk.say("one")
    middle, last = talk.say("two"), talk.say("three")
    run = talk.put()
    talk.do(turns.withdraw, middle)
    assert talk.shown == ["one", "three"]
    talk.do(turns.withdraw, last)
    assert talk.shown == ["one"]
    talk.reply("answer 1", run)
    assert talk.shown == ["one", "answer 1"]
    assert len(runs_of(talk.store, talk.thread)) == 1
    assert {data["change"] for _, kind, data in talk.told() if data.get("id") in (middle, last)} == {"deleted"}


@pytest.mark.parametrize("turn", [turns.withdraw, turns.send_now])
def test_what_the_agent_has_no_longer_waits(talk: Talk, turn: Any) -> None:
    asked = talk.say("one")
    talk.put()
    with pytest.raises(Conflict) as refused:
        talk.do(turn, asked)
    assert refused.value.code == "not_queued"


def test_a_question_that_waits_can_be_put_at_once(talk: Talk) -> None:
    talk.say("one")
    talk.say("two")
    third = talk.say("three")
    run = talk.put()
    write(talk.store, talk.agent, talk.thread, run, token("Half"), index=0)
    talk.do(turns.send_now, third)
    assert talk.shown == ["one", "Half", "three", "two"]
    claimed = talk.store.write(lambda s: outbox.claim(s, 10.0))
    assert claimed is not None
    if claimed.kind == "cancel":
        claimed = talk.store.write(lambda s: outbox.claim(s, 10.0))
    assert claimed is not None
    assert claimed.body["message"]["text"] == "three"
    talk.reply("answer 3", claimed.run_id)
    assert talk.shown == ["one", "Half", "three", "answer 3", "two"]


def test_a_question_of_another_branch_is_put_at_once_and_stays_there(talk: Talk) -> None:
    first = talk.answered("one", "answer 1")
    talk.do(turns.regenerate, talk.thread)
    talk.put()
    talk.reply("answer 1, again")
    talk.say("two")
    talk.put()
    talk.say("three")
    talk.do(turns.show, talk.thread, first)
    talk.do(turns.send_now, talk.say("four"))
    assert talk.shown == ["one", "answer 1", "four"]
    run = talk.put()
    assert [run["id"] for run in runs_of(talk.store, talk.thread)][-1] == run
    talk.reply("answer 4", run)
    assert talk.shown == ["one", "answer 1", "four", "answer 4"]


def test_a_failed_answer_that_was_begun_stays_beside_the_next(talk: Talk) -> None:
    talk.say("one")
    run = talk.put()
    write(talk.store, talk.agent, talk.thread, run, token("Half"), {"type": "error", "message": "no more"}, index=0)
    assert talk.shown == ["one", "Half"]
    talk.do(turns.retry, talk.thread)
    assert talk.shown == ["one"]
    talk.put()
    talk.reply("Whole")
    assert talk.shown == ["one", "Whole"]


def test_an_answer_without_a_sign_of_life_is_lost_and_can_be_asked_for_again(talk: Talk) -> None:
    talk.say("one")
    run = talk.put()
    write(talk.store, talk.agent, talk.thread, run, token("Half"), index=0)
    assert not talk.store.read(lambda s: drafts.are_lost(s, 60.0))
    assert talk.store.write(lambda s: drafts.end_lost(s, 60.0)) == 0
    assert talk.store.read(lambda s: drafts.are_lost(s, -1.0))
    assert talk.store.write(lambda s: drafts.end_lost(s, -1.0)) == 1
    assert (newest_run(talk.store, talk.thread)["status"], talk.shown) == ("lost", ["one", "Half"])
    late = write(talk.store, talk.agent, talk.thread, run, token(" and more"), index=1)
    assert late.status == 409
    talk.do(turns.retry, talk.thread)
    talk.put()
    talk.reply("Whole")
    assert talk.shown == ["one", "Whole"]


def test_a_whole_answer_that_comes_after_its_run_was_lost_takes_its_place(talk: Talk) -> None:
    talk.say("one")
    run = talk.put()
    write(talk.store, talk.agent, talk.thread, run, token("Half"), index=0)
    talk.store.write(lambda s: drafts.end_lost(s, -1.0))
    talk.reply("Whole", run)
    assert talk.shown == ["one", "Whole"]
    assert newest_run(talk.store, talk.thread)["status"] == "success"


def test_an_empty_batch_is_a_sign_of_life(talk: Talk) -> None:
    talk.say("one")
    run = talk.put()
    write(talk.store, talk.agent, talk.thread, run, token("Half"), index=0)
    talk.store.write(lambda s: s.execute(drafts.DraftRow.table().update().values(seen_at=0.0)))
    assert talk.store.read(lambda s: drafts.are_lost(s, 60.0))
    assert write(talk.store, talk.agent, talk.thread, run, index=1).status == 200
    assert not talk.store.read(lambda s: drafts.are_lost(s, 60.0))


@pytest.mark.parametrize("rating", ["up", "down", 1, 5])
def test_an_answer_is_judged_and_otherwise_later(talk: Talk, rating: str | int) -> None:
    answer = talk.answered("one", "answer")
    judged = talk.do(turns.judge, answer, rating, "too long", "Say less.")
    assert judged["feedback"].items() >= {"rating": rating, "category": "too long", "comment": "Say less."}.items()
    assert talk.do(turns.judge, answer, "down", "", "")["feedback"]["rating"] == "down"
    assert talk.do(turns.judge, answer, None, "", "")["feedback"] is None
    assert [data["feedback"] for _, kind, data in talk.told() if data.get("id") == answer][-1] is None


@pytest.mark.parametrize(
    ("rating", "category", "comment"),
    [("sideways", "", ""), (0, "", ""), (6, "", ""), ("up", "x" * 101, ""), ("up", "", "x" * 2001), ("up", "\0", "")],
)
def test_a_judgement_that_is_none_is_refused(talk: Talk, rating: Any, category: str, comment: str) -> None:
    answer = talk.answered("one", "answer")
    with pytest.raises(Invalid):
        talk.do(turns.judge, answer, rating, category, comment)


def test_nothing_of_somebody_else_can_be_touched(talk: Talk, people: SimpleNamespace) -> None:
    answer = talk.answered("one", "answer")
    asked = talk.page["items"][0]["id"]
    attempts: list[tuple[Any, ...]] = [
        (turns.stop, talk.thread),
        (turns.retry, talk.thread),
        (turns.regenerate, talk.thread, answer),
        (turns.show, talk.thread, asked),
        (turns.edit, asked, "mine"),
        (turns.withdraw, asked),
        (turns.send_now, asked),
        (turns.judge, answer, "up", "", ""),
    ]
    before = len(talk.told())
    for who in (people.bob, people.olga, people.charlie):
        for turn, *more in attempts:
            with pytest.raises(NotFound):
                talk.do(turn, *more, who=who)
    assert len(talk.told()) == before


@pytest.mark.parametrize("named", ["nobody's", "\0", ""])
def test_a_message_that_is_not_there_is_said_to_be_so(talk: Talk, named: str) -> None:
    talk.answered("one", "answer")
    for turn, *more in (
        (turns.edit, named, "x"),
        (turns.withdraw, named),
        (turns.show, talk.thread, named),
        (turns.judge, named, "up", "", ""),
    ):
        with pytest.raises(ChatError) as refused:
            talk.do(turn, *more)
        assert refused.value.status in (400, 404)


def test_what_the_agent_said_unasked_cannot_be_asked_again(talk: Talk) -> None:
    call(talk.store, talk.agent, {"thread_id": talk.thread, **spoken("News")}, "key")
    with pytest.raises(Conflict, match="unasked"):
        talk.do(turns.regenerate, talk.thread)


def test_an_agent_that_passes_something_on_goes_on_behind_it(talk: Talk) -> None:
    talk.say("one")
    run = talk.put()
    events = ({"type": "handoff", "text": "Over to Ann."}, token("Here I am."), {"type": "done"})
    write(talk.store, talk.agent, talk.thread, run, *events, index=0)
    assert talk.shown == ["one", "Over to Ann.", "Here I am."]


def test_unread_counts_do_not_mind_branches(talk: Talk) -> None:
    first = talk.answered("one", "answer")
    talk.do(turns.regenerate, talk.thread, first)
    talk.put()
    talk.reply("another")
    assert talk.store.read(lambda s: read_json(s, talk.thread))["unread"] == 2


def test_every_run_has_at_most_one_row_in_the_outbox(talk: Talk) -> None:
    talk.say("one")
    talk.put()
    talk.do(turns.stop, talk.thread)
    talk.do(turns.retry, talk.thread)
    kinds = talk.store.read(lambda s: list(s.scalars(select(Dispatch.kind).order_by(Dispatch.seq))))
    assert sorted(kinds) == ["ask", "cancel"]


def test_a_run_that_waited_for_the_person_is_over_when_the_next_one_is(talk: Talk) -> None:
    talk.say("book it")
    run = talk.put()
    write(talk.store, talk.agent, talk.thread, run, {"type": "question", "text": "Which day?"}, index=0)
    assert newest_run(talk.store, talk.thread)["status"] == "waiting"
    talk.answered("Monday", "Booked.")
    assert [run["status"] for run in runs_of(talk.store, talk.thread)] == ["success", "success"]
    assert talk.shown == ["book it", "Which day?", "Monday", "Booked."]


def test_what_waits_can_be_sent_now_though_the_agent_has_begun_an_answer_of_its_own(talk: Talk) -> None:
    """Its own run answers what it has been asked, not what is still to be put."""
    talk.say("one")
    waits = talk.say("two")
    talk.put()
    write(talk.store, talk.agent, talk.thread, "its own", token("By the way"), index=0)
    assert talk.do(turns.send_now, waits)["message_id"] == waits
    assert [run["message_id"] for run in runs_of(talk.store, talk.thread)].count(waits) == 1


def test_a_question_that_was_answered_and_is_asked_again_cannot_be_taken_back(talk: Talk) -> None:
    talk.answered("one", "answer")
    [asked, _] = talk.page["items"]
    talk.do(turns.regenerate, talk.thread)
    for turn in (turns.withdraw, turns.send_now):
        with pytest.raises(Conflict):
            talk.do(turn, asked["id"])
    assert len(talk.page["items"]) == 2


def late(talk: Talk, run: str) -> None:
    talk.store.write(lambda s: s.execute(Run.table().update().where(Run.id == run).values(late_after_ms=1)))


def test_a_late_answer_is_asked_for_again_before_what_waits_for_it(talk: Talk) -> None:
    talk.say("one")
    talk.say("two")
    run = talk.put()
    write(talk.store, talk.agent, talk.thread, run, token("Half"), index=0)
    late(talk, run)
    again = talk.do(turns.retry, talk.thread)
    assert talk.put() == again["id"]
    talk.reply("Whole", again["id"])
    assert talk.shown == ["one", "Half", "Whole", "two"]


def test_what_comes_too_late_still_stands_where_the_thread_is(talk: Talk) -> None:
    """Its run was given up, and others have spoken since."""
    talk.say("one")
    run = talk.put()
    talk.store.write(lambda s: drafts.end(s, s.get_one(Run, run), "timeout", "why"))
    call(talk.store, talk.agent, {"thread_id": talk.thread, **spoken("News")}, "key")
    talk.say("two")
    talk.reply("answer 1", run)
    assert talk.shown == ["one", "News", "answer 1", "two"]


def test_a_batch_that_is_refused_leaves_nothing_behind(talk: Talk) -> None:
    before = len(talk.told())
    refused = write(talk.store, talk.agent, talk.thread, "new", token("far"), index=5000)
    assert (refused.status, refused.body["error"]["code"]) == (409, "too_far_ahead")
    refused = write(talk.store, talk.agent, talk.thread, "new", {"type": "done", "count": 7}, index=0)
    assert refused.body["error"]["code"] == "incomplete"
    assert (runs_of(talk.store, talk.thread), len(talk.told())) == ([], before)


def test_what_comes_too_early_is_kept_within_bounds(talk: Talk) -> None:
    talk.say("one")
    run = talk.put()
    big = {"type": "tool", "name": "x", "output": "x" * 60_000}
    statuses = [write(talk.store, talk.agent, talk.thread, run, big, index=index).status for index in range(1, 30)]
    assert (statuses[0], statuses[-1]) == (200, 409)


def test_the_agent_is_not_told_what_stood_beside_an_answer_nor_what_was_thought_of_it(talk: Talk) -> None:
    talk.say("one")
    run = talk.put()
    events = ({"type": "reasoning", "text": "hm"}, token("answer"), {"type": "done"})
    answer = write(talk.store, talk.agent, talk.thread, run, *events, index=0).body["message_id"]
    talk.do(turns.judge, answer, "down", "", "between us")
    talk.say("two")
    question = talk.store.write(lambda s: outbox.claim(s, 10.0))
    assert question is not None
    assert [set(told) & {"parts", "feedback"} for told in question.body["history"]] == [set(), set()]


def test_what_a_stopped_answer_still_says_under_a_name_of_its_own_is_not_the_next_answer(talk: Talk) -> None:
    talk.say("one")
    talk.do(turns.stop, talk.thread, talk.put())
    talk.say("two")
    late = call(talk.store, talk.agent, graph(talk.thread, "their first", "Too late"), "k1")
    assert (late.status, late.body["error"]["code"]) == (409, "run_ended")
    talk.put()
    call(talk.store, talk.agent, graph(talk.thread, "their second", "answer 2"), "k2")
    assert talk.shown == ["one", "two", "answer 2"]


def graph(thread: str, run: str, text: str) -> dict[str, Any]:
    values = {"messages": [{"type": "ai", "content": text}]}
    return {"thread_id": thread, "run_id": run, "status": "success", "values": values}


def test_a_question_that_is_taken_back_leaves_nothing_hanging(talk: Talk) -> None:
    talk.say("one")
    talk.put()
    waiting = talk.say("two")
    write(talk.store, talk.agent, talk.thread, "of its own", token("By the "), index=0)
    talk.do(turns.withdraw, waiting)
    write(talk.store, talk.agent, talk.thread, "of its own", token("way"), {"type": "done"}, index=1)
    talk.reply("answer 1")
    assert sorted(talk.shown) == ["By the way", "answer 1", "one"]


def test_a_question_that_is_put_first_takes_along_nothing_of_what_followed_it(talk: Talk) -> None:
    talk.say("one")
    talk.put()
    talk.say("two")
    last = talk.say("three")
    call(talk.store, talk.agent, {"thread_id": talk.thread, **spoken("By the way", kind="notice")}, "key")
    talk.do(turns.send_now, last)
    assert sorted(talk.shown) == ["By the way", "one", "three", "two"]
    assert talk.shown.index("three") < talk.shown.index("two")
