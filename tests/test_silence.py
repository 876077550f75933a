"""Silence is a message: who waits longer than is usual for the agent is told, and told when it speaks again."""

from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from agents import outbox
from chat import silence
from chat.ids import new_id, now_ms
from chat.models import DraftRow, Run
from chat.silence import Silence
from chat.store import Store
from chat.usual import ANSWERS, ENOUGH, LEAST, UNKNOWN, Usual, usual_of
from tests.acts import call, newest_run, open_thread, runs_of, say, spoken, texts, token, told, write

MINUTE = 60  # seconds


@pytest.fixture
def thread(store: Store, people: SimpleNamespace) -> str:
    return open_thread(store, people.alice)


@pytest.fixture
def asked(store: Store, people: SimpleNamespace, thread: str) -> str:
    """A question that the agent has just taken; its run."""
    say(store, people.alice, thread)
    question = store.write(lambda s: outbox.claim(s, 5.0))
    assert question is not None
    store.write(lambda s: outbox.accepted(s, question))
    return question.run_id


def answered(store: Store, people: SimpleNamespace, thread: str, *seconds: float, agent: Any = None) -> None:
    """The agent has answered before, and took so long each time."""
    about = {"thread_id": thread, "participant_id": people.alice.participant_id, "status": "success"}
    rows = []
    for each in seconds:
        id, now = new_id(), now_ms()
        times = {"created_at": now, "started_at": now, "ended_at": now + round(each * 1000)}
        agent_id = (agent or people.agent).id
        rows.append({"id": id, "external_id": id, "agent_id": agent_id, "attempts": 1, "rev": 0, **about, **times})
    store.write(lambda s: s.execute(insert(Run.table()), rows))


def pass_time(store: Store, seconds: float) -> None:
    """Let every time of what is open be so much longer ago."""
    times = {"started_at": Run.started_at - round(seconds * 1000), "late_at": Run.late_at - seconds}
    store.write(lambda s: s.execute(update(Run).where(Run.status == "running").values(times)))
    store.write(lambda s: s.execute(update(DraftRow).values(said_at=DraftRow.said_at - seconds)))


def late(store: Store, run_id: str) -> tuple[int | None, int | None]:
    """What the run tells after a sweep: silent for how long, and what is usual, in minutes: machines are slow."""
    Silence(store).sweep()
    run = store.read(lambda s: s.get_one(Run, run_id))
    return in_minutes(run.late_after_ms), in_minutes(run.usual_ms)


def in_minutes(ms: int | None) -> int | None:
    return None if ms is None else round(ms / 1000 / MINUTE)


def changes(store: Store, people: SimpleNamespace) -> list[dict[str, Any]]:
    return [data for _, kind, data in told(store, people.alice.participant_id) if kind == "run"]


def wait(store: Store, who: Any, run_id: str) -> dict[str, Any]:
    return store.write(lambda s: silence.wait(s, who, run_id))


def test_what_takes_longer_than_ninety_five_in_a_hundred_is_told_once_with_what_is_usual(
    store: Store, people: SimpleNamespace, thread: str, asked: str
) -> None:
    answered(store, people, thread, *([12 * MINUTE] * 94), *([40 * MINUTE] * 6))
    before = len(changes(store, people))
    pass_time(store, 39 * MINUTE)
    assert late(store, asked) == (None, None)
    assert len(changes(store, people)) == before, "a look that finds nothing is told to nobody"
    pass_time(store, 6 * MINUTE)
    store.rung.clear()  # type: ignore[attr-defined]
    assert late(store, asked) == (45, 12)
    assert [event.kind for _, _, event in store.rung] == ["run"]  # type: ignore[attr-defined]
    assert changes(store, people)[-1]["usual_ms"] == 12 * MINUTE * 1000
    pass_time(store, 100 * MINUTE)
    assert late(store, asked) == (45, 12)
    assert len(changes(store, people)) == before + 1


def test_of_an_agent_that_nobody_knows_it_is_told_after_a_while_and_not_what_is_usual(
    store: Store, people: SimpleNamespace, thread: str, asked: str
) -> None:
    answered(store, people, thread, *([1] * (ENOUGH - 1)))
    pass_time(store, UNKNOWN / 2)
    assert late(store, asked) == (None, None)
    pass_time(store, 31 * MINUTE)
    assert late(store, asked) == (31, None)


def test_a_quick_agent_is_given_some_seconds(store: Store, people: SimpleNamespace, thread: str, asked: str) -> None:
    answered(store, people, thread, *([0.2] * 20))
    assert late(store, asked) == (None, None)
    pass_time(store, LEAST + 1)
    assert late(store, asked) == (0, 0)


def test_whoever_writes_is_not_silent_and_who_speaks_again_is_late_no_more(
    store: Store, people: SimpleNamespace, thread: str, asked: str
) -> None:
    answered(store, people, thread, *([10 * MINUTE] * 20))
    pass_time(store, 9 * MINUTE)
    write(store, people.agent, thread, asked, token("Well, "), index=0)
    pass_time(store, 9 * MINUTE)
    assert late(store, asked) == (None, None)
    pass_time(store, 2 * MINUTE)
    assert late(store, asked) == (11, 10), "since its last word"
    write(store, people.agent, thread, asked, token("you see"), index=1)
    assert late(store, asked) == (None, None)
    assert changes(store, people)[-1]["late_after_ms"] is None
    pass_time(store, 11 * MINUTE)
    assert late(store, asked) == (11, 10)


def test_keep_waiting_puts_the_next_word_off_for_twice_as_long(
    store: Store, people: SimpleNamespace, thread: str, asked: str
) -> None:
    pass_time(store, 31 * MINUTE)
    assert late(store, asked) == (31, None)
    run = wait(store, people.alice, asked)
    assert (run["late_after_ms"], run["usual_ms"], run["status"]) == (None, None, "running")
    assert changes(store, people)[-1]["late_after_ms"] is None
    told_before = len(changes(store, people))
    wait(store, people.alice, asked)
    assert len(changes(store, people)) == told_before, "twice is once"
    pass_time(store, 61 * MINUTE)
    assert late(store, asked) == (None, None)
    pass_time(store, 2 * MINUTE)
    assert late(store, asked) == (94, None)


def test_only_its_own_person_keeps_waiting(
    site: Any, store: Store, people: SimpleNamespace, thread: str, asked: str
) -> None:
    pass_time(store, 31 * MINUTE)
    late(store, asked)
    for who in ("bob", "olga", "charlie"):
        assert site.call(who, "POST", f"/runs/{asked}/wait").status_code == 404
    assert site.call("alice", "POST", "/runs/nobody%00/wait").status_code == 404
    assert late(store, asked) == (31, None)
    answer = site.call("alice", "POST", f"/runs/{asked}/wait")
    assert (answer.status_code, answer.json["late_after_ms"]) == (200, None)


@pytest.mark.parametrize("status", ["success", "error", "timeout"])
def test_a_late_answer_ends_the_run_and_the_notice(
    store: Store, people: SimpleNamespace, thread: str, asked: str, status: str
) -> None:
    pass_time(store, 31 * MINUTE)
    assert late(store, asked) == (31, None)
    values = {"messages": [{"type": "ai", "content": "at last"}]}
    done = {"thread_id": thread, "run_id": asked, "status": status, "values": values}
    assert call(store, people.agent, done).status == 200
    last = changes(store, people)[-1]
    assert (last["status"], last["late_after_ms"], last["usual_ms"]) == (status, None, None)
    assert wait(store, people.alice, asked)["status"] == status, "too late, and no harm"
    pass_time(store, 1000)
    assert late(store, asked) == (None, None)


def test_while_a_person_is_asked_no_word_is_due(store: Store, people: SimpleNamespace, thread: str, asked: str) -> None:
    """P38."""
    pass_time(store, 31 * MINUTE)
    assert late(store, asked) == (31, None)
    interrupted = {"thread_id": thread, "run_id": asked, "status": "interrupted", "values": {}}
    assert call(store, people.agent, interrupted).status == 200
    last = changes(store, people)[-1]
    assert (last["status"], last["late_after_ms"]) == ("waiting", None)
    store.write(lambda s: s.execute(update(Run).values(started_at=Run.started_at - 10**6)))
    assert late(store, asked) == (None, None)


def test_a_question_that_waits_for_another_attempt_is_not_silent(
    store: Store, people: SimpleNamespace, thread: str
) -> None:
    say(store, people.alice, thread)
    question = store.write(lambda s: outbox.claim(s, 5.0))
    assert question is not None
    store.write(lambda s: outbox.failed(s, question, "no luck", (1000.0,)))
    run = store.read(lambda s: s.get_one(Run, question.run_id))
    assert (run.status, run.late_at) == ("queued", None)


def test_what_an_agent_begins_by_itself_may_be_late_once_it_has_begun(
    store: Store, people: SimpleNamespace, thread: str
) -> None:
    write(store, people.agent, thread, "its own", token("Once "), index=0)
    run = newest_run(store, thread)["id"]
    pass_time(store, 31 * MINUTE)
    assert late(store, run) == (31, None)


def usual(store: Store, people: SimpleNamespace) -> Usual:
    return store.read(lambda s: usual_of(s, people.agent.id))


def test_usual_is_what_the_newest_answers_of_this_agent_took(
    store: Store, people: SimpleNamespace, thread: str
) -> None:
    answered(store, people, thread, *([500] * 20))
    answered(store, people, thread, *range(1, ANSWERS + 1))
    answered(store, people, thread, *([900] * 50), agent=people.evil_agent)
    assert usual(store, people) == Usual(51, 96)
    failed = update(Run).where(Run.agent_id == people.agent.id).values(status="timeout")
    store.write(lambda s: s.execute(failed))
    assert usual(store, people) == Usual(None, UNKNOWN)


def test_an_answer_for_which_a_person_was_asked_says_nothing_of_what_is_usual(
    store: Store, people: SimpleNamespace, thread: str
) -> None:
    answered(store, people, thread, *([2] * ENOUGH))
    say(store, people.alice, thread)
    run = newest_run(store, thread)["id"]
    store.write(lambda s: outbox.claim(s, 5.0))
    call(store, people.agent, {"thread_id": thread, "run_id": run, "status": "interrupted", "values": {}})
    store.write(lambda s: s.execute(update(Run).where(Run.id == run).values(started_at=Run.started_at - 10**6)))
    call(store, people.agent, {"thread_id": thread, "run_id": run, **spoken("Done.")})
    assert next(each for each in runs_of(store, thread) if each["id"] == run)["status"] == "success"
    question, answer = texts(store, people.alice, thread)[1:]
    assert (question, answer) == ("The agent stopped and waits for a decision.", "Done."), "the one is not the other"
    assert usual(store, people) == Usual(2, LEAST)


def test_what_an_agent_says_unasked_says_nothing_of_what_is_usual(
    store: Store, people: SimpleNamespace, thread: str
) -> None:
    for number in range(ENOUGH):
        call(store, people.agent, {"thread_id": thread, "run_id": f"news-{number}", **spoken()})
        write(store, people.agent, thread, f"more-{number}", token("More."), {"type": "done"}, index=0)
    assert usual(store, people) == Usual(None, UNKNOWN)


def test_several_workers_say_it_once(store: Store, people: SimpleNamespace, thread: str, asked: str) -> None:
    pass_time(store, 31 * MINUTE)
    before = len(changes(store, people))
    found = store.read(lambda s: s.scalars(select(Run.agent_id).where(Run.id == asked)).one())
    for _ in range(2):
        store.write(lambda s: silence.look(s, [asked], {found: Usual(None, UNKNOWN)}))
    assert len(changes(store, people)) == before + 1


def test_the_next_look_is_soon_when_an_agent_is_asked_and_never_when_it_is_over(
    store: Store, people: SimpleNamespace, thread: str, asked: str
) -> None:
    run = store.read(lambda s: s.get_one(Run, asked))
    assert 0 < (run.late_at or 0) - store.read(outbox.now) <= LEAST
    call(store, people.agent, {"thread_id": thread, "run_id": asked, **spoken()})
    assert store.read(lambda s: s.get_one(Run, asked)).late_at is None
    assert store.peek(lambda s: s.execute(silence.to_look_at(Run.id)).all()) == []
