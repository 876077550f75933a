"""Answers that a worker gets itself: who may take a question, for how long, and whose is one that comes otherwise."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from gevent.pool import Group
from gevent.pywsgi import WSGIServer
from sqlalchemy import update

from agents import answering, outbox
from agents.answering import Answerer, HungUp, Listening, Stalled, storable
from agents.outbox import Question
from agents.scribe import Scribe
from chat import drafts, runs
from chat.answers import OURS
from chat.events import Error, Metadata, Reasoning, Said, Token, Usage, Whole
from chat.models import Agent, Dispatch, DraftRow, Run
from chat.store import Store
from chat.text import AGENT_TEXT
from config import Config
from tests.acts import call, history, newest_run, open_thread, say, spoken, texts, token, write
from tests.until import until


@pytest.fixture
def thread(store: Store, people: SimpleNamespace) -> str:
    """Alice has asked an agent that a worker asks itself."""
    store.write(lambda s: s.execute(update(Agent).where(Agent.id == people.agent.id).values(kind="openai", url="")))
    thread = open_thread(store, people.alice)
    say(store, people.alice, thread, "Hello?")
    return thread


def claim(store: Store, **more: Any) -> Question | None:
    return store.write(lambda s: outbox.claim(s, 1000.0, **more))


def pass_time(store: Store, seconds: float) -> None:
    """Let every time of leases and signs of life be so much longer ago."""
    for row, column in ((Dispatch, "leased_until"), (DraftRow, "seen_at")):
        values = {column: getattr(row, column) - seconds}
        store.write(lambda s, row=row, values=values: s.execute(update(row).values(values)))


def test_one_worker_has_a_question_as_long_as_it_renews_the_lease(store: Store, thread: str) -> None:
    question = claim(store)
    assert question is not None
    assert question.agent_kind == "openai"
    for _ in range(5):
        pass_time(store, 10)
        assert claim(store) is None
        store.write(lambda s: outbox.renew(s, [question]))
    pass_time(store, 16)
    again = claim(store)
    assert again is not None
    assert again.attempt == 2
    store.write(lambda s: outbox.renew(s, [question]))  # it comes back, and has nothing to say
    pass_time(store, 16)
    assert claim(store) is not None


def test_who_has_no_room_for_an_answer_leaves_it_to_others_and_takes_the_rest(
    store: Store, people: SimpleNamespace, thread: str
) -> None:
    assert store.peek(lambda s: outbox.is_due(s, True))
    assert not store.peek(lambda s: outbox.is_due(s, False))
    assert claim(store, may_answer=False) is None
    store.write(lambda s: s.execute(update(Agent).where(Agent.id == people.agent.id).values(kind="webhook")))
    assert claim(store, may_answer=False) is not None


def test_a_question_that_is_let_go_is_put_at_once_and_has_cost_no_attempt(store: Store, thread: str) -> None:
    question = claim(store)
    assert question is not None
    store.write(lambda s: outbox.let_go(s, question))
    assert newest_run(store, thread)["status"] == "queued"
    again = claim(store)
    assert again is not None
    assert again.attempt == 1


def test_what_is_to_be_asked_again_is_not_lost(store: Store, people: SimpleNamespace, thread: str) -> None:
    question = claim(store)
    assert question is not None
    store.write(lambda s: drafts.take_pen(s, people.agent, thread, question.run_id, 0))
    pass_time(store, 100)
    assert not store.peek(lambda s: drafts.are_lost(s, 60))
    again = claim(store)
    assert again is not None
    store.write(lambda s: outbox.accepted(s, again))
    assert store.peek(lambda s: drafts.are_lost(s, 60))


def test_half_an_answer_that_nobody_goes_on_with_is_given_up_once(
    store: Store, people: SimpleNamespace, thread: str
) -> None:
    run = newest_run(store, thread)["id"]
    write(store, people.agent, thread, run, token("Half an "), index=0)
    for _ in range(2):
        store.write(lambda s: drafts.give_up(s, run, "The server stopped."))
    assert texts(store, people.alice, thread) == ["Hello?", "Half an "]
    assert (newest_run(store, thread)["status"], newest_run(store, thread)["error"]) == ("lost", "The server stopped.")


# The webhook of a LangGraph run that is streamed


def graph(thread: str, name: str, text: str, **more: Any) -> dict[str, Any]:
    values = {"messages": [{"type": "ai", "content": text}]}
    return {"thread_id": thread, "run_id": name, "status": "success", "values": values, **more}


@pytest.mark.parametrize("by", ["its name", "our word"])
def test_while_an_answer_is_streamed_its_webhook_changes_nothing(
    store: Store, people: SimpleNamespace, thread: str, by: str
) -> None:
    run = newest_run(store, thread)["id"]
    write(store, people.agent, thread, run, token("Word by "), index=0)
    body = graph(thread, "lg-1", "otherwise", metadata={OURS: run} if by == "our word" else {})
    if by == "its name":
        store.write(lambda s: runs.rename(s, run, "lg-1"))
    assert call(store, people.agent, body).status == 200
    write(store, people.agent, thread, run, token("word."), {"type": "done"}, index=1)
    assert texts(store, people.alice, thread) == ["Hello?", "Word by word."]
    pass_time(store, 100)


def test_a_webhook_brings_an_answer_that_was_lost(store: Store, people: SimpleNamespace, thread: str) -> None:
    run = newest_run(store, thread)["id"]
    write(store, people.agent, thread, run, token("Half an "), index=0)
    store.write(lambda s: drafts.give_up(s, run, "lost"))
    assert call(store, people.agent, graph(thread, "lg-1", "Half an answer.", metadata={OURS: run})).status == 200
    assert texts(store, people.alice, thread) == ["Hello?", "Half an answer."]
    assert newest_run(store, thread)["status"] == "success"


def test_a_graph_that_asked_in_its_stream_still_waits_after_its_webhook(
    store: Store, people: SimpleNamespace, thread: str
) -> None:
    run = newest_run(store, thread)["id"]
    write(store, people.agent, thread, run, {"type": "question", "text": "Sure?"}, index=0)
    assert call(store, people.agent, graph(thread, "lg-1", "", metadata={OURS: run})).status == 200
    assert newest_run(store, thread)["status"] == "waiting"


def test_a_run_of_another_agent_is_nobody_s(store: Store, people: SimpleNamespace, thread: str) -> None:
    body = graph(thread, "lg-1", "Hello!", metadata={OURS: "no run of ours"})
    assert call(store, people.agent, body).status == 200
    assert newest_run(store, thread)["status"] == "success"
    assert call(store, people.agent, {"thread_id": thread, "run_id": "lg-1", **spoken("More")}).status == 200


# Listening


def never(closed: list[str]) -> Iterator[Said]:
    try:
        yield Token("one")
        gevent.sleep(60)
    finally:
        closed.append("closed")


def test_whoever_hangs_up_ends_the_wait_and_closes_the_connection() -> None:
    closed: list[str] = []
    heard: list[Said] = []

    def listen() -> None:
        listening = Listening(never(closed), 30)
        gevent.spawn_later(0.01, listening.hang_up)
        for event in listening:
            heard.append(event)

    task = gevent.spawn(listen)
    task.join(5)
    assert isinstance(task.value, HungUp)
    assert heard == [Token("one")]
    gc.collect()
    until(lambda: closed == ["closed"])


def test_who_hangs_up_while_the_words_are_written_interrupts_nothing_of_that() -> None:
    closed: list[str] = []
    written: list[Said] = []
    listening: list[Listening] = []

    def listen() -> None:
        listening.append(Listening(never(closed), 30))
        for event in listening[0]:
            gevent.sleep(0.05)  # a transaction
            written.append(event)

    task = gevent.spawn(listen)
    until(lambda: listening)
    listening[0].hang_up()
    task.join(5)
    assert written == [Token("one")]
    assert isinstance(task.value, HungUp)


def test_one_that_says_nothing_is_waited_for_so_long() -> None:
    closed: list[str] = []
    listening = Listening(never(closed), 0.05)
    words = iter(listening)
    assert next(words) == Token("one")
    with pytest.raises(Stalled):
        next(words)
    assert closed == ["closed"]


@pytest.mark.parametrize("kind", [Token, Reasoning, Whole, Error])
def test_what_no_database_takes_is_replaced(kind: Any) -> None:
    assert storable(kind("a\x00b\ud83dc😀")) == kind("a\ufffdb?c😀")


# An agent asked, at a server that says what it likes


class Upstream:
    """An agent's HTTP server. `says` is each path's status and body; while it is `slow`, it answers nothing."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.says: dict[str, tuple[str, str]] = {}
        self.slow, self.type = False, "text/event-stream"
        self._server = WSGIServer(("127.0.0.1", 0), self._take, log=None)
        self._server.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def _take(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.asked.append(environ["PATH_INFO"])
        while self.slow:
            gevent.sleep(0.01)
        status, body = self.says[environ["PATH_INFO"].rpartition("/")[2]]
        start_response(status, [("Content-Type", self.type), ("Connection", "close")])
        return [body.encode()]

    def stop(self) -> None:
        self._server.stop(timeout=0)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    found = Upstream()
    yield found
    found.stop()


@pytest.fixture
def answerer(
    store: Store, upstream: Upstream, thread: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Answerer]]:
    """A worker that knows Alice's agent, with these lines in its description."""
    tasks = Group()
    monkeypatch.setattr(answering.gevent, "spawn", tasks.spawn)
    monkeypatch.setattr(answering, "RENEW", 0.02)

    def start(lines: str) -> Answerer:
        path = tmp_path / "agents.toml"
        path.write_text(f'[[agents]]\nname = "echo"\ntenants = ["Acme"]\n{lines.replace("URL", upstream.url)}\n')
        found = Answerer(store, Scribe(store, lambda *_: None, 60.0), Config(AGENTS_FILE=str(path)))
        found.start()
        return found

    yield start
    tasks.kill()


MODEL = 'kind = "openai"\nbase_url = "URL"\nmodel = "m"'
LATER = 'kind = "langgraph"\nurl = "URL"\nassistant = "a"\nstream = false\ntoken = "t"'


def chunks(*deltas: dict[str, str]) -> str:
    said = [{"choices": [{"delta": delta}]} for delta in deltas]
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in said) + "data: [DONE]\n\n"


def test_a_question_is_kept_while_an_agent_that_answers_later_is_slow_to_take_it(
    store: Store, thread: str, upstream: Upstream, answerer: Callable[[str], Answerer]
) -> None:
    upstream.says = {"threads": ("200 OK", "{}"), "runs": ("200 OK", '{"run_id": "lg-1"}')}
    upstream.slow = True
    ours, question = answerer(LATER), claim(store)
    assert question is not None
    task = gevent.spawn(ours.answer, question)
    until(lambda: upstream.asked)
    for _ in range(3):
        pass_time(store, 16)
        until(lambda: not store.peek(outbox.is_due), 3)
    upstream.slow = False
    task.get(timeout=10)
    assert store.read(lambda s: s.get_one(Run, question.run_id).external_id) == "lg-1"
    assert len(upstream.asked) == 2
    assert not ours._wordless, "it has left off"


def test_a_failure_is_told_whatever_the_model_says_of_it(
    store: Store, thread: str, upstream: Upstream, answerer: Callable[[str], Answerer]
) -> None:
    upstream.says["completions"] = ("400 Bad Request", r'{"error": {"message": "bad \u0000 byte"}}')
    question = claim(store)
    assert question is not None
    answerer(MODEL).answer(question)
    run = newest_run(store, thread)
    assert (run["status"], run["error"]) == ("error", "The model refused the question (HTTP 400): bad \ufffd byte.")


@pytest.mark.parametrize("status", ["400 Bad Request", "200 OK"])
def test_no_failure_tells_our_key_though_the_model_does(
    store: Store, thread: str, upstream: Upstream, answerer: Callable[[str], Answerer], status: str
) -> None:
    failed = '{"error": {"message": "overloaded, dear sk-1"}}'
    upstream.says["completions"] = (status, failed if status[0] == "4" else f"data: {failed}\n\n")
    question = claim(store)
    assert question is not None
    answerer(f'{MODEL}\napi_key = "sk-1"').answer(question)
    assert newest_run(store, thread)["error"].endswith(": overloaded, dear ***.")


def test_an_address_that_answers_with_something_else_is_told_as_that(
    store: Store, thread: str, upstream: Upstream, answerer: Callable[[str], Answerer]
) -> None:
    upstream.says["completions"], upstream.type = ("200 OK", "<html>"), "text/html; charset=utf-8"
    question = claim(store)
    assert question is not None
    answerer(MODEL).answer(question)
    run = newest_run(store, thread)
    said = "The model did not answer with events but with text/html; is its address right?"
    assert (run["status"], run["error"]) == ("error", said)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)  # SQLite keeps everything
def test_what_cannot_be_kept_ends_the_run_at_once(
    store: Store, thread: str, upstream: Upstream, answerer: Callable[[str], Answerer]
) -> None:
    upstream.says = {"threads": ("200 OK", "{}"), "runs": ("200 OK", r'{"run_id": "lg-\u0000"}')}
    question = claim(store)
    assert question is not None
    answerer(LATER).answer(question)
    run = newest_run(store, thread)
    assert (run["status"], run["error"]) == ("lost", "The agent said what cannot be kept.")


def test_an_answer_and_its_reasoning_may_each_be_as_long_as_a_webhook_s(
    store: Store, people: SimpleNamespace, thread: str, upstream: Upstream, answerer: Callable[[str], Answerer]
) -> None:
    text = "x" * AGENT_TEXT
    upstream.says["completions"] = ("200 OK", chunks({"reasoning_content": text}, {"content": text}))
    question = claim(store)
    assert question is not None
    answerer(MODEL).answer(question)
    assert newest_run(store, thread)["status"] == "success"
    [_, answer] = history(store, people.alice, thread)["items"]
    assert (answer["text"], answer["parts"]["reasoning"]) == (text, text)


@pytest.mark.parametrize("section", ["content", "reasoning_content"])
def test_but_not_longer_and_what_fitted_stays(
    store: Store,
    people: SimpleNamespace,
    thread: str,
    upstream: Upstream,
    answerer: Callable[[str], Answerer],
    section: str,
) -> None:
    upstream.says["completions"] = ("200 OK", chunks({"content": "Hello"}, {section: "x" * AGENT_TEXT}, {section: "y"}))
    question = claim(store)
    assert question is not None
    answerer(MODEL).answer(question)
    run = newest_run(store, thread)
    assert run["status"] == "error"
    assert "must have at most 262,144 bytes" in run["error"]
    assert texts(store, people.alice, thread)[1] == "Hello"


def test_nor_may_a_graph_s_answer_that_comes_whole(
    store: Store, thread: str, upstream: Upstream, answerer: Callable[[str], Answerer]
) -> None:
    values = {"messages": [{"type": "ai", "content": "x" * (AGENT_TEXT + 1)}]}
    upstream.says = {"threads": ("200 OK", "{}"), "stream": ("200 OK", ""), "join": ("200 OK", json.dumps(values))}
    upstream.says[""] = "200 OK", '{"status": "success"}'  # the run, which has told no name
    question = claim(store)
    assert question is not None
    answerer(LATER.replace("stream = false", "")).answer(question)
    run = newest_run(store, thread)
    said = "The agent said what cannot be shown: An answer must have at most 262,144 bytes."
    assert (run["status"], run["error"]) == ("error", said)


def test_words_that_all_come_at_once_keep_nobody_else_from_working(
    store: Store, thread: str, answerer: Callable[[str], Answerer]
) -> None:
    ours, question, turns, meanwhile = answerer(MODEL), claim(store), [], []

    def work() -> None:
        while True:
            turns.append(1)
            gevent.sleep(0)

    def burst() -> Iterator[Said]:
        worker = gevent.Greenlet.spawn(work)
        yield from [Token("word ")] * 2000
        worker.kill()
        meanwhile.append(len(turns))

    with ours._scribe.writing(ours._look_up(question)[1], thread, question.run_id) as writing:
        ours._write_all(question, Listening(burst(), 60.0), writing)
    assert meanwhile[0] >= 2000 / answering.TURN


def test_tokens_that_no_model_can_have_used_are_not_kept() -> None:
    told = storable(Metadata(usage=Usage(-1, 10**12, 12)))
    assert told == Metadata(usage=Usage(None, None, 12))
