"""A run is answered once: the row alone decides it, whoever asks again and under whatever name (DESIGN 4)."""

from types import SimpleNamespace
from typing import Any

import pytest

from agents import outbox
from chat import runs, turns
from chat.errors import Conflict, NotFound
from chat.models import Message, Run
from chat.store import Store
from tests.acts import call, ledger, newest_run, open_thread, outbox_of, runs_of, say, spoken, texts, token, told, write

FINAL = ["success", "error", "timeout"]


@pytest.fixture
def thread(store: Store, people: SimpleNamespace) -> str:
    return open_thread(store, people.alice)


@pytest.fixture
def run(store: Store, people: SimpleNamespace, thread: str) -> str:
    say(store, people.alice, thread)
    return str(newest_run(store, thread)["id"])


def graph(thread: str, run: str, status: str, text: str = "Hello!") -> dict[str, Any]:
    values = {"messages": [{"type": "ai", "content": text}]}
    return {"thread_id": thread, "run_id": run, "status": status, "values": values, "error": text}


def end(store: Store, run: str, status: str) -> None:
    """The run ends by our own doing, without a word of the agent."""
    store.write(lambda s: runs.end(s, s.get_one(Run, run), status, "no answer"))


def test_a_question_opens_a_run_and_puts_it_into_the_outbox(store: Store, people: SimpleNamespace, thread: str) -> None:
    message = say(store, people.alice, thread)
    [run] = runs_of(store, thread)
    assert (run["status"], run["message_id"], run["attempts"]) == ("queued", message["id"], 0)
    assert outbox_of(store, thread) == [run["id"]]


@pytest.mark.parametrize("status", FINAL)
def test_every_end_is_seen_in_the_run_and_in_the_log(
    store: Store, people: SimpleNamespace, thread: str, run: str, status: str
) -> None:
    assert call(store, people.agent, graph(thread, run, status)).status == 200
    assert newest_run(store, thread)["status"] == status
    assert outbox_of(store, thread) == []
    changes = [data for _, kind, data in told(store, people.alice.participant_id) if kind == "run"]
    assert changes[-1]["status"] == status


def test_a_failure_stands_with_its_question_and_is_no_message(
    store: Store, people: SimpleNamespace, thread: str, run: str
) -> None:
    call(store, people.agent, graph(thread, run, "error", "boom"))
    assert newest_run(store, thread)["error"] == "boom"
    assert texts(store, people.alice, thread) == ["Hello?"]


@pytest.mark.parametrize(("status", "text"), [("error", "boom"), ("timeout", "The agent did not finish in time.")])
def test_a_failure_that_answers_no_question_becomes_a_notice(
    store: Store, people: SimpleNamespace, thread: str, status: str, text: str
) -> None:
    call(store, people.agent, graph(thread, "theirs", status, "boom"))
    _, kind, data = next(event for event in told(store, people.alice.participant_id) if event[1] == "message")
    assert (kind, data["kind"], data["text"]) == ("message", "notice", text)


@pytest.mark.parametrize("status", FINAL)
def test_a_second_answer_that_says_the_same_gets_the_first_ones_receipt(
    store: Store, people: SimpleNamespace, thread: str, run: str, status: str
) -> None:
    first = call(store, people.agent, graph(thread, run, status))
    later = {**graph(thread, run, status), "webhook_sent_at": "later", "run_ended_at": "later"}
    again = call(store, people.agent, later, "another-key")
    assert (again.status, again.body, again.replayed) == (200, first.body, True)
    assert len(runs_of(store, thread)) == 1
    assert len(texts(store, people.alice, thread)) == (2 if status == "success" else 1)


@pytest.mark.parametrize("first", FINAL)
@pytest.mark.parametrize("second", FINAL)
def test_a_second_answer_that_says_something_else_is_a_conflict(
    store: Store, people: SimpleNamespace, thread: str, run: str, first: str, second: str
) -> None:
    call(store, people.agent, graph(thread, run, first, "one"))
    before = told(store, people.alice.participant_id)
    receipt = call(store, people.agent, graph(thread, run, second, "two"), "k2")
    if first == second == "timeout":  # a timeout says nothing of its own
        assert receipt.replayed
    else:
        assert (receipt.status, receipt.body["error"]["code"]) == (409, "run_answered")
        assert ledger(store)[-1] == (409, "run_answered")
    assert told(store, people.alice.participant_id) == before


@pytest.mark.parametrize("status", ["error", "timeout", "lost"])
def test_an_answer_that_comes_after_we_gave_up_is_shown(
    store: Store, people: SimpleNamespace, thread: str, run: str, status: str
) -> None:
    end(store, run, status)
    assert call(store, people.agent, graph(thread, run, "success", "late")).status == 200
    assert texts(store, people.alice, thread) == ["Hello?", "late"]
    assert (newest_run(store, thread)["status"], newest_run(store, thread)["error"]) == ("success", None)


def test_a_question_of_the_agent_waits_for_the_person_and_may_then_be_answered(
    store: Store, people: SimpleNamespace, thread: str, run: str
) -> None:
    asked = {"thread_id": thread, "run_id": run, "status": "interrupted"}
    asked |= {"values": {"__interrupt__": [{"value": "Shall I?"}]}}
    call(store, people.agent, asked)
    assert newest_run(store, thread)["status"] == "waiting"
    assert outbox_of(store, thread) == []
    assert call(store, people.agent, asked).replayed
    call(store, people.agent, graph(thread, run, "success", "Done."))
    assert newest_run(store, thread)["status"] == "success"
    assert texts(store, people.alice, thread) == ["Hello?", "Shall I?", "Done."]


@pytest.mark.parametrize("status", ["running", "interrupted"])
def test_what_an_attempt_failed_with_is_forgotten_once_the_agent_is_heard(
    store: Store, people: SimpleNamespace, thread: str, run: str, status: str
) -> None:
    question = store.write(lambda s: outbox.claim(s, 1))
    assert question is not None
    store.write(lambda s: outbox.failed(s, question, "The agent could not be reached.", (60.0,)))
    assert newest_run(store, thread)["error"] == "The agent could not be reached."
    call(store, people.agent, {"thread_id": thread, "run_id": run, "status": status}, key="k")
    assert newest_run(store, thread)["error"] is None


@pytest.mark.parametrize("kind", ["reasoning", "tool", "notice"])
def test_what_is_said_on_the_way_leaves_the_run_open(
    store: Store, people: SimpleNamespace, thread: str, run: str, kind: str
) -> None:
    for key, text in (("k1", "looking"), ("k2", "found")):
        assert (
            call(store, people.agent, {"thread_id": thread, "run_id": run, **spoken(text, kind=kind)}, key).status
            == 200
        )
    assert newest_run(store, thread)["status"] == "queued"
    assert outbox_of(store, thread) == [run]
    call(store, people.agent, {"thread_id": thread, "run_id": run, **spoken("Hello!")})
    assert texts(store, people.alice, thread) == ["Hello?", "looking", "found", "Hello!"]
    assert newest_run(store, thread)["status"] == "success"


@pytest.mark.parametrize("status", ["pending", "running"])
def test_a_sign_of_life_is_kept_by_its_run_alone(
    store: Store, people: SimpleNamespace, thread: str, run: str, status: str
) -> None:
    for _ in range(2):
        assert call(store, people.agent, graph(thread, run, status), f"k-{status}").status == 200
    assert newest_run(store, thread)["status"] == "running"
    assert texts(store, people.alice, thread) == ["Hello?"]


def test_an_agent_that_names_its_runs_itself_answers_our_question_under_its_own_name(
    store: Store, people: SimpleNamespace, thread: str, run: str
) -> None:
    first = call(store, people.agent, graph(thread, "theirs", "success"))
    assert first.body["run_id"] == "theirs"
    assert [found["id"] for found in runs_of(store, thread)] == [run]
    assert outbox_of(store, thread) == []
    assert call(store, people.agent, graph(thread, "theirs", "success")).replayed


def test_an_agent_of_one_s_own_that_says_it_failed_fails_what_it_names(
    store: Store, people: SimpleNamespace, thread: str, run: str
) -> None:
    """Only a whole run object is LangGraph's: this is what docs/agents.md tells everybody to send."""
    call(store, people.agent, {"thread_id": thread, "run_id": "job-7", "status": "error", "error": "no disk"})
    assert [(found["id"] == run, found["status"]) for found in runs_of(store, thread)] == [
        (True, "queued"),
        (False, "error"),
    ]
    write(store, people.agent, thread, run, token("Half an "), index=0)
    call(store, people.agent, {"thread_id": thread, "run_id": run, "status": "error", "error": "no disk"})
    assert runs_of(store, thread)[0]["error"] == "no disk"
    assert texts(store, people.alice, thread)[-1] == "Half an "


def test_such_an_agent_answers_the_oldest_open_question_first(
    store: Store, people: SimpleNamespace, thread: str, run: str
) -> None:
    say(store, people.alice, thread, "And?")
    call(store, people.agent, graph(thread, "theirs-1", "success", "one"))
    call(store, people.agent, graph(thread, "theirs-2", "success", "two"))
    assert [found["status"] for found in runs_of(store, thread)] == ["success", "success"]
    assert texts(store, people.alice, thread) == ["Hello?", "And?", "one", "two"]


@pytest.mark.parametrize("status", ["success", "error", "timeout", "waiting"])
def test_a_question_that_is_no_longer_open_is_not_answered_under_a_new_name(
    store: Store, people: SimpleNamespace, thread: str, run: str, status: str
) -> None:
    store.write(lambda s: runs.change(s, s.get_one(Run, run), status=status))
    call(store, people.agent, graph(thread, "theirs", "success", "more"))
    before = "success" if status == "waiting" else status  # for the person, who has heard more since
    assert [found["status"] for found in runs_of(store, thread)] == [before, "success"]
    assert texts(store, people.alice, thread) == ["Hello?", "more"]


def test_a_run_that_nobody_asked_for_is_opened_by_its_answer(
    store: Store, people: SimpleNamespace, thread: str
) -> None:
    call(store, people.agent, graph(thread, "theirs", "success", "Good morning."))
    [run] = runs_of(store, thread)
    assert (run["status"], run["message_id"]) == ("success", None)
    assert outbox_of(store, thread) == []
    assert texts(store, people.alice, thread) == ["Good morning."]


def test_two_agents_may_give_their_runs_the_same_name(store: Store, people: SimpleNamespace, thread: str) -> None:
    theirs = open_thread(store, people.charlie)
    assert call(store, people.agent, graph(thread, "r1", "success", "ours")).status == 200
    assert call(store, people.evil_agent, graph(theirs, "r1", "success", "theirs")).status == 200
    assert texts(store, people.alice, thread) == ["ours"]
    assert texts(store, people.charlie, theirs) == ["theirs"]


def test_a_run_belongs_to_one_thread(store: Store, people: SimpleNamespace, thread: str, run: str) -> None:
    other = open_thread(store, people.alice)
    receipt = call(store, people.agent, graph(other, run, "success"))
    assert (receipt.status, receipt.body["error"]["code"]) == (409, "other_thread")
    assert texts(store, people.alice, other) == []
    assert newest_run(store, thread)["status"] == "queued"


@pytest.mark.parametrize("status", ["error", "timeout", "lost", "stopped"])
def test_retry_asks_the_same_question_by_a_new_run(
    store: Store, people: SimpleNamespace, thread: str, run: str, status: str
) -> None:
    end(store, run, status)
    assert outbox_of(store, thread) == []
    store.write(lambda s: turns.retry(s, people.alice, thread))
    old, new = runs_of(store, thread)
    assert (old["status"], new["status"]) == (status, "queued")
    assert new["message_id"] == old["message_id"]
    assert outbox_of(store, thread) == [new["id"]]
    question = store.write(lambda s: outbox.claim(s, 1))
    assert question is not None
    assert question.body["message"]["text"] == "Hello?"


@pytest.mark.parametrize("status", [None, "running", "waiting", "success"])
def test_there_is_nothing_to_retry_unless_the_newest_answer_failed(
    store: Store, people: SimpleNamespace, thread: str, status: str | None
) -> None:
    if status:
        say(store, people.alice, thread)
        store.write(lambda s: runs.change(s, s.get_one(Run, newest_run(store, thread)["id"]), status=status))
    with pytest.raises(Conflict, match="has not failed"):
        store.write(lambda s: turns.retry(s, people.alice, thread))


@pytest.mark.parametrize("who", ["bob", "olga", "charlie"])
def test_only_the_owner_may_ask_again(store: Store, people: SimpleNamespace, thread: str, run: str, who: str) -> None:
    end(store, run, "error")
    with pytest.raises(NotFound):
        store.write(lambda s: turns.retry(s, getattr(people, who), thread))


def test_the_answer_of_an_old_run_does_not_close_the_new_one(
    store: Store, people: SimpleNamespace, thread: str, run: str
) -> None:
    end(store, run, "timeout")
    store.write(lambda s: turns.retry(s, people.alice, thread))
    call(store, people.agent, graph(thread, run, "success", "late"))
    assert [found["status"] for found in runs_of(store, thread)] == ["success", "queued"]
    assert outbox_of(store, thread) == [newest_run(store, thread)["id"]]


def test_a_message_says_which_run_of_ours_it_answers(
    store: Store, people: SimpleNamespace, thread: str, run: str
) -> None:
    call(store, people.agent, graph(thread, "theirs", "success"))
    assert store.read(lambda s: s.query(Message.run_id).filter_by(direction="outgoing").scalar()) == run
