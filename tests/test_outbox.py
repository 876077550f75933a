"""The outbox: a question commits with its message and is put to its agent until one answers or none is left."""

from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from sqlalchemy import update

from agents import outbox
from agents.outbox import Question
from chat import drafts, threads
from chat.models import Dispatch, Run
from chat.store import Store
from tests.acts import call, newest_run, open_thread, outbox_of, runs_of, say, spoken, token, told, write

WAITS = (1.0, 5.0)


@pytest.fixture
def thread(store: Store, people: SimpleNamespace) -> str:
    return open_thread(store, people.alice)


def claim(store: Store) -> Question | None:
    return store.write(lambda s: outbox.claim(s, 5.0))


def claimed(store: Store) -> Question:
    question = claim(store)
    assert question is not None
    return question


def fail(store: Store, question: Question) -> None:
    store.write(lambda s: outbox.failed(s, question, "no luck", WAITS))


def accept(store: Store, question: Question) -> None:
    store.write(lambda s: outbox.accepted(s, question))


def pass_time(store: Store, seconds: float) -> None:
    """Let every time in the outbox be so much longer ago."""
    times = (Dispatch.due_at, Dispatch.leased_until, Dispatch.accepted_at)
    store.write(lambda s: s.execute(update(Dispatch).values({column: column - seconds for column in times})))


def due_in(store: Store) -> float:
    return store.read(lambda s: s.query(Dispatch.due_at).scalar() - outbox.now(s))


def test_a_question_holds_what_the_agent_needs(store: Store, people: SimpleNamespace, thread: str) -> None:
    message = say(store, people.alice, thread, "What is the answer?")
    for name in ("tip_id", "parts", "feedback"):
        message.pop(name)
    run = newest_run(store, thread)["id"]
    question = claimed(store)
    assert (question.run_id, question.agent_id, question.url) == (run, people.agent.id, "http://192.0.2.1/")
    assert question.body == {"thread_id": thread, "run_id": run, "message": message, "history": []}
    assert (newest_run(store, thread)["status"], newest_run(store, thread)["attempts"]) == ("running", 1)


def test_the_person_sees_that_the_agent_is_being_asked(store: Store, people: SimpleNamespace, thread: str) -> None:
    say(store, people.alice, thread)
    claimed(store)
    statuses = [data["change"] for _, kind, data in told(store, people.alice.participant_id) if kind == "run"]
    assert statuses == ["created", "updated"]


def test_a_question_is_leased_to_one_and_free_again_when_the_lease_is_over(
    store: Store, people: SimpleNamespace, thread: str
) -> None:
    say(store, people.alice, thread)
    first = claimed(store)
    assert claim(store) is None
    assert not store.peek(outbox.is_due)
    pass_time(store, 5.0 + outbox.LEASE - 1)
    assert claim(store) is None, "an attempt may take this long"
    pass_time(store, 2)
    second = claimed(store)
    assert (second.run_id, newest_run(store, thread)["attempts"]) == (first.run_id, 2)
    assert second.lease != first.lease


def test_of_several_who_want_a_question_one_gets_it(store: Store, people: SimpleNamespace, thread: str) -> None:
    say(store, people.alice, thread)
    claims = [gevent.spawn(claim, store) for _ in range(8)]
    assert len([greenlet for greenlet in claims if greenlet.get(timeout=10)]) == 1


def test_who_holds_no_valid_lease_changes_nothing(store: Store, people: SimpleNamespace, thread: str) -> None:
    say(store, people.alice, thread)
    stale = claimed(store)
    pass_time(store, 100)
    holder = claimed(store)
    before = told(store, people.alice.participant_id)
    accept(store, stale)
    for _ in range(5):
        fail(store, stale)
    assert told(store, people.alice.participant_id) == before
    accept(store, holder)
    assert store.read(lambda s: s.query(Dispatch.accepted_at).scalar())
    assert newest_run(store, thread)["status"] == "running"


def test_a_failed_attempt_is_made_again_later_and_the_last_failure_is_seen(
    store: Store, people: SimpleNamespace, thread: str
) -> None:
    say(store, people.alice, thread)
    for attempt, wait in enumerate(WAITS, 1):
        fail(store, claimed(store))
        run = newest_run(store, thread)
        assert (run["status"], run["attempts"], run["error"]) == ("queued", attempt, "no luck")
        assert 0.8 * wait - 0.5 <= due_in(store) <= 1.2 * wait
        assert claim(store) is None
        pass_time(store, 1.2 * wait)
    fail(store, claimed(store))
    run = newest_run(store, thread)
    assert (run["status"], run["attempts"], run["error"]) == ("error", 3, "no luck")
    assert outbox_of(store, thread) == []
    assert told(store, people.alice.participant_id)[-1][2]["error"] == "no luck"


def test_an_accepted_question_is_not_put_again(store: Store, people: SimpleNamespace, thread: str) -> None:
    say(store, people.alice, thread)
    accept(store, claimed(store))
    pass_time(store, 10_000)
    assert claim(store) is None


def test_an_accepted_question_without_an_answer_ends_where_the_person_sees_it(
    store: Store, people: SimpleNamespace, thread: str
) -> None:
    """P37."""
    say(store, people.alice, thread)
    accept(store, claimed(store))
    pass_time(store, 590)
    assert not store.peek(lambda s: outbox.is_silent(s, 600))
    assert store.write(lambda s: outbox.end_silent(s, 600)) == 0
    pass_time(store, 20)
    assert store.peek(lambda s: outbox.is_silent(s, 600))
    assert store.write(lambda s: outbox.end_silent(s, 600)) == 1
    run = newest_run(store, thread)
    assert (run["status"], run["error"]) == ("timeout", "No answer within 600 seconds.")
    assert outbox_of(store, thread) == []


def test_an_agent_that_waits_for_the_person_is_not_silent(store: Store, people: SimpleNamespace, thread: str) -> None:
    """P38."""
    say(store, people.alice, thread)
    question = claimed(store)
    accept(store, question)
    call(store, people.agent, {"thread_id": thread, "run_id": question.run_id, "status": "interrupted"})
    pass_time(store, 10_000)
    assert store.write(lambda s: outbox.end_silent(s, 600)) == 0
    assert newest_run(store, thread)["status"] == "waiting"


BEGUN = [
    {"status": "running"},
    {"status": "pending"},
    *(spoken("looking", kind=kind) for kind in ("reasoning", "tool", "notice")),
]


@pytest.mark.parametrize("said", BEGUN, ids=lambda said: said.get("status") or said["message"]["kind"])
def test_what_an_agent_begins_by_itself_and_never_ends_is_given_up_and_holds_nobody_up_for_ever(
    store: Store, people: SimpleNamespace, thread: str, said: dict[str, Any]
) -> None:
    assert call(store, people.agent, {"thread_id": thread, "run_id": "theirs", **said}, "k1").status == 200
    run = newest_run(store, thread)
    assert outbox_of(store, thread) == [run["id"]]
    pass_time(store, 590)
    assert claim(store) is None, "nothing is asked of an agent that began by itself"
    assert store.write(lambda s: outbox.end_silent(s, 600)) == 0
    say(store, people.alice, thread, "Next?")
    assert not store.peek(outbox.is_due), "one at a time, whoever began it"
    pass_time(store, 20)
    assert store.peek(lambda s: outbox.is_silent(s, 600))
    assert store.write(lambda s: outbox.end_silent(s, 600)) == 1
    shown = [data for _, kind, data in told(store, people.alice.participant_id) if kind == "run"][-1]
    assert (shown["id"], shown["status"]) == (run["id"], "timeout")
    assert shown["error"] == "No answer within 600 seconds."
    assert claimed(store).body["message"]["text"] == "Next?"


def test_what_an_agent_begins_by_itself_and_ends_leaves_nothing_to_wait_for(
    store: Store, people: SimpleNamespace, thread: str
) -> None:
    begun = {"thread_id": thread, "run_id": "theirs"}
    call(store, people.agent, {**begun, "status": "running"}, "k1")
    say(store, people.alice, thread, "Next?")
    call(store, people.agent, {**begun, **spoken("Done.")})
    assert claimed(store).body["message"]["text"] == "Next?"
    assert [run["status"] for run in runs_of(store, thread)] == ["success", "running"]


def test_an_agent_is_asked_one_question_of_a_thread_at_a_time(
    store: Store, people: SimpleNamespace, thread: str
) -> None:
    """P36."""
    for text in ("one", "two"):
        say(store, people.alice, thread, text)
    first = claimed(store)
    assert first.body["message"]["text"] == "one"
    assert claim(store) is None
    accept(store, first)
    assert claim(store) is None
    call(store, people.agent, {"thread_id": thread, "run_id": first.run_id, **spoken("1")})
    second = claimed(store)
    assert second.body["message"]["text"] == "two"
    assert [entry["text"] for entry in second.body["history"]] == ["one", "1"]


def test_a_question_that_waits_for_its_next_attempt_keeps_its_turn(
    store: Store, people: SimpleNamespace, thread: str
) -> None:
    for text in ("one", "two"):
        say(store, people.alice, thread, text)
    fail(store, claimed(store))
    assert claim(store) is None
    pass_time(store, 2)
    assert claimed(store).body["message"]["text"] == "one"


def test_threads_do_not_wait_for_each_other(store: Store, people: SimpleNamespace, thread: str) -> None:
    other = open_thread(store, people.bob)
    say(store, people.alice, thread, "of Alice")
    say(store, people.bob, other, "of Bob")
    assert [claimed(store).body["message"]["text"] for _ in range(2)] == ["of Alice", "of Bob"]


def test_an_answer_that_overtakes_the_acceptance_closes_the_question_for_good(
    store: Store, people: SimpleNamespace, thread: str
) -> None:
    say(store, people.alice, thread)
    question = claimed(store)
    call(store, people.agent, {"thread_id": thread, "run_id": question.run_id, **spoken()})
    accept(store, question)
    fail(store, question)
    assert newest_run(store, thread)["status"] == "success"
    assert outbox_of(store, thread) == []


def test_a_deleted_thread_has_no_questions(store: Store, people: SimpleNamespace, thread: str) -> None:
    say(store, people.alice, thread)
    question = claimed(store)
    store.write(lambda s: threads.delete(s, people.alice, thread))
    accept(store, question)
    fail(store, question)
    assert claim(store) is None
    assert store.read(lambda s: s.query(Run).count()) == 0


def test_the_history_is_the_last_twenty_messages_oldest_first(
    store: Store, people: SimpleNamespace, thread: str
) -> None:
    for number in range(25):
        say(store, people.alice, thread, str(number))
    for run in runs_of(store, thread)[:-1]:
        call(store, people.agent, {"thread_id": thread, "run_id": run["id"], "status": "timeout"})
    history = claimed(store).body["history"]
    assert [entry["text"] for entry in history] == [str(number) for number in range(4, 24)]


@pytest.mark.parametrize(("size", "kept"), [(32_000, 4), (25_600, 5), (10, 6)])
def test_and_no_more_than_128_kib_of_them(
    store: Store, people: SimpleNamespace, thread: str, size: int, kept: int
) -> None:
    for _ in range(7):
        say(store, people.alice, thread, "x" * size)
    for run in runs_of(store, thread)[:-1]:
        call(store, people.agent, {"thread_id": thread, "run_id": run["id"], "status": "timeout"})
    history = claimed(store).body["history"]
    assert len(history) == kept
    assert sum(len(entry["text"]) for entry in history) <= 128 * 1024


def test_an_agent_that_has_begun_to_answer_is_not_asked_again_though_the_call_failed(
    store: Store, people: SimpleNamespace, thread: str
) -> None:
    say(store, people.alice, thread)
    question = claimed(store)
    write(store, people.agent, thread, question.run_id, token("Half an "), index=0)
    fail(store, question)
    pass_time(store, 1000)
    assert claim(store) is None
    assert newest_run(store, thread)["status"] == "running"
    assert store.peek(lambda s: drafts.are_lost(s, -1)), "but it is not waited for for ever"


def test_nor_when_whoever_called_it_has_died(store: Store, people: SimpleNamespace, thread: str) -> None:
    say(store, people.alice, thread)
    question = claimed(store)
    write(store, people.agent, thread, question.run_id, token("Half an "), index=0)
    say(store, people.alice, thread, "And this?")
    pass_time(store, 1000)
    assert claim(store) is None
    write(store, people.agent, thread, question.run_id, token("answer"), {"type": "done"}, index=1)
    assert claimed(store).body["message"]["text"] == "And this?"
