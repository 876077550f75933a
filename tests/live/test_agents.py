"""Agents that people have, each at a real server of its own that speaks as the real one does: the same answers by all.

A webhook agent that streams, an OpenAI-compatible endpoint, a LangGraph Server, and a function in the worker.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from chat.models import Run
from tests.fakes.cast import Fake
from tests.live.kills import kill_both_workers
from tests.live.people import Person, newcomer, store_of
from tests.live.reader import named
from tests.server import Server
from tests.until import until

KINDS = ("webhook", "openai", "langgraph", "function")
WORDS = ("Hel", "lo, 😀", " wörld", " e\u0301\u0302", "\u2028", "\n\n", "```py\n", "x = 1", "\n```", " 👩‍👩‍👧", "!")
TEXT = "".join(WORDS)
KEY = "sk-canary-key"
STREAMED = ("/ask", "/runs/stream", "/chat/completions")
PROMPT = "the canary sings a secret song"

FILE = """
[[agents]]
name = "webhook"
kind = "webhook"
tenants = ["demo"]
url = "{webhook}/ask"
token_env = "TOKEN_OF_WEBHOOK"

[[agents]]
name = "openai"
kind = "openai"
tenants = ["demo"]
base_url = "{openai}/v1"
model = "small"
api_key_env = "KEY_OF_OPENAI"
system_prompt = "You are terse."
temperature = 0.5
max_tokens = 500
history = 4
stall_seconds = 3

[[agents]]
name = "langgraph"
kind = "langgraph"
tenants = ["demo"]
url = "{langgraph}"
assistant = "agent"
api_key_env = "KEY_OF_OPENAI"
token = "token of langgraph"
stall_seconds = 3

[[agents]]
name = "later"
kind = "langgraph"
tenants = ["demo"]
url = "{langgraph}"
assistant = "agent"
stream = false
token = "token of later"

[[agents]]
name = "function"
kind = "function"
tenants = ["demo"]
module = "tests.fakes.functions"
stall_seconds = 3

[[agents]]
name = "typed"
kind = "function"
tenants = ["demo"]
module = "tests.fakes.functions"
"""


@dataclass
class Cast:
    """A server and all the agents that it asks; by the kind of an agent, where its words come from."""

    server: Server
    fakes: dict[str, Fake]

    def plays(self, kind: str, *words: str, **script: Any) -> Fake:
        fake = self.fakes[kind]
        fake.plays(*words, token="token of webhook", webhook_token="token of langgraph", **script)
        return fake


@pytest.fixture(scope="module")
def cast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cast]:
    folder = tmp_path_factory.mktemp("agents")
    fakes = {name: Fake({"function": "openai"}.get(name, name)) for name in KINDS}
    (folder / "agents.toml").write_text(FILE.format(**{name: fake.url for name, fake in fakes.items()}))
    server = Server(
        folder / "server", AGENTS_FILE=folder / "agents.toml", FUNCTION_MODEL=fakes["function"].url,
        KEY_OF_OPENAI=KEY, TOKEN_OF_WEBHOOK="token of webhook", DRAIN_SECONDS=1,
        PAUSE_SECONDS=6,  # longer than any agent here pauses, or is let stall; a killed worker's answer is lost as soon
    )  # fmt: skip
    try:
        yield Cast(server.start(), fakes)
    finally:
        server.stop()
        for fake in fakes.values():
            fake.stop()


@pytest.fixture
def alice(cast: Cast) -> Person:
    return newcomer(cast.server)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def run_of(alice: Person, thread: str) -> dict[str, Any]:
    """The thread's newest run."""
    runs = alice.call("GET", f"/threads/{thread}/messages")[1]["runs"]
    return max(runs, key=lambda run: run["id"])  # type: ignore[no-any-return]


def ended(alice: Person, thread: str, seconds: float = 30.0) -> dict[str, Any]:
    return until(lambda: (run := run_of(alice, thread))["status"] not in ("queued", "running") and run, seconds)


def answers(alice: Person, thread: str) -> list[str]:
    return [message["text"] for message in alice.history(thread) if message["direction"] == "outgoing"]


def ask(alice: Person, kind: str, text: str = PROMPT) -> str:
    thread = alice.new_thread(kind)
    alice.say(thread, text)
    return thread


def test_an_answer_is_told_as_it_is_written_and_stored_to_the_letter(cast: Cast, alice: Person, kind: str) -> None:
    cast.plays(kind, *WORDS, pause=0.06, reasoning=["Let me ", "think."])
    thread = alice.new_thread(kind)
    with alice.reader(f"/threads/{thread}/events") as reader:
        reader.wait("ready")
        alice.say(thread, PROMPT)
        reader.wait_for_text(TEXT)
        deltas = [event.json for event in named(reader.events, "delta")]
    assert len(deltas) >= 3
    assert TEXT.startswith(deltas[0]["text"])
    assert ended(alice, thread)["status"] == "success"
    [_, message] = alice.history(thread)
    assert message["text"] == TEXT
    assert message["parts"]["reasoning"] == "Let me think."
    assert message["parts"]["usage"]["output_tokens"] == len(WORDS)
    assert message["parts"]["usage"]["total_tokens"] > len(WORDS)


def test_what_was_said_before_goes_with_the_question(cast: Cast, alice: Person) -> None:
    fake = cast.plays("openai", "Yes.")
    thread = ask(alice, "openai", "one")
    for text in ("two", "three", "four"):
        ended(alice, thread)
        alice.say(thread, text)
    until(lambda: len(answers(alice, thread)) == 4)
    asked = fake.seen[-1]["body"]
    assert asked["messages"] == [
        {"role": "system", "content": "You are terse."},
        {"role": "user", "content": "two"},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "three"},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "four"},
    ]  # fmt: skip
    assert (asked["temperature"], asked["max_tokens"], asked["model"]) == (0.5, 500, "small")
    assert fake.seen[-1]["headers"]["authorization"] == f"Bearer {KEY}"


REFUSALS = {
    "webhook": (400, {}, "The agent refused the question (HTTP 400)."),
    "openai": (
        401,
        {"error": {"message": f"Incorrect API key provided: {KEY}"}},
        "does not accept our key (HTTP 401).",
    ),
    "langgraph": (422, {"detail": "Invalid assistant"}, "refused the question (HTTP 422): Invalid assistant."),
    "function": (500, {}, "The agent failed."),
}


def test_a_refusal_is_told_in_the_thread_and_retry_works(cast: Cast, alice: Person, kind: str) -> None:
    status, error, said = REFUSALS[kind]
    cast.plays(kind, manner="refuse", status=status, error=error)
    thread = ask(alice, kind)
    run = ended(alice, thread)
    assert run["status"] == "error"
    assert run["error"].endswith(said)
    assert KEY not in run["error"]
    cast.plays(kind, "Here ", "I am.")
    assert alice.call("POST", f"/threads/{thread}/retry")[0] == 201
    until(lambda: answers(alice, thread) == ["Here I am."])


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        (400, {"error": {"message": "This model's maximum context length is 8192 tokens."}}, "too long for the model"),
        (429, {"error": {"message": "Rate limit reached"}}, "is overloaded, or its quota is used up (HTTP 429)."),
        (503, {}, "cannot answer now (HTTP 503)."),
        (404, {"error": "model 'small' not found"}, "(HTTP 404): model 'small' not found."),
        (403, {"error": {"message": KEY}}, "does not accept our key (HTTP 403)."),
    ],
)
def test_a_model_s_refusals_are_told_in_plain_words(
    cast: Cast, alice: Person, status: int, error: Any, said: str
) -> None:
    fake = cast.plays("openai", manner="refuse", status=status, error=error)
    run = ended(alice, ask(alice, "openai"))
    assert run["status"] == "error"
    assert said in run["error"]
    assert len(fake.seen) == (3 if status in (429, 503) else 1), "what may pass is asked again"


def test_an_answer_that_breaks_off_keeps_what_was_written(cast: Cast, alice: Person, kind: str) -> None:
    cast.plays(kind, *WORDS, pause=0.05, manner="break", at=5)
    thread = ask(alice, kind)
    if kind == "langgraph":  # its run goes on by itself, and is joined
        until(lambda: answers(alice, thread) == [TEXT])
        return
    assert ended(alice, thread)["status"] == "error"
    assert answers(alice, thread) == ["".join(WORDS[:5])]


def test_a_clean_end_is_none_if_the_model_has_not_said_so(cast: Cast, alice: Person) -> None:
    cast.plays("openai", *WORDS, manner="end", at=5)
    thread = ask(alice, "openai")
    assert ended(alice, thread)["error"] == "The model's answer broke off."
    assert answers(alice, thread) == ["".join(WORDS[:5])]


@pytest.mark.parametrize("kind", ["openai", "function"])
def test_one_that_falls_silent_is_given_up(cast: Cast, alice: Person, kind: str) -> None:
    fake = cast.plays(kind, *WORDS, manner="stall", at=2)
    thread = ask(alice, kind)
    run = ended(alice, thread)
    assert (run["status"], run["error"]) == ("error", "The agent said nothing for 3 seconds.")
    assert answers(alice, thread) == ["".join(WORDS[:2])]
    until(lambda: any(seen.get("closed") for seen in fake.seen))


@pytest.mark.parametrize("words", [0, 3])
def test_stop_closes_the_connection_upstream(cast: Cast, alice: Person, kind: str, words: int) -> None:
    """P31, P32: at most a second later, also before the first word."""
    pause = 0.05 if words else 3600.0
    fake = cast.plays(kind, *(f"word{number} " for number in range(1000)), pause=pause)
    thread = ask(alice, kind)
    until(lambda: any(seen.get("words", 0) >= words for seen in fake.seen if seen["path"].endswith(STREAMED)))
    if words:
        until(lambda: alice.call("GET", f"/runs/{run_of(alice, thread)['id']}/partial")[1].get("text"))
    elif kind == "webhook":
        pytest.skip("an agent that has not begun to answer has no connection to be closed; it is told")
    stopped_at = time.time()
    assert alice.call("POST", f"/threads/{thread}/stop", {})[1]["status"] == "stopped"
    closed = until(lambda: next((seen["closed"] for seen in fake.seen if seen.get("closed")), None))
    print(f"{kind}: closed {closed - stopped_at:.3f} s after stop")
    assert closed - stopped_at < 1.0
    if kind == "langgraph":
        until(lambda: any("/cancel?action=interrupt" in seen["path"] for seen in fake.seen))
    cast.plays(kind, "Next.")
    alice.say(thread, "next")
    until(lambda: answers(alice, thread)[-1:] == ["Next."])
    *kept, _ = answers(alice, thread)
    assert len(kept) == bool(words)
    assert "".join(kept) == "".join(f"word{number} " for number in range("".join(kept).count("word")))


def test_workers_killed_in_mid_answer_lose_it_or_ask_again_and_double_nothing(cast: Cast, alice: Person) -> None:
    words = [f"word{number} " for number in range(60)]
    fakes = [cast.plays(kind, *words, pause=0.1) for kind in KINDS]
    threads = [ask(alice, kind) for kind in KINDS]
    for thread in threads:
        until(lambda thread=thread: alice.call("GET", f"/runs/{run_of(alice, thread)['id']}/partial")[1].get("text"))
    kill_both_workers(cast.server)
    until(cast.server.is_ready, 30)
    for thread in threads:
        run = ended(alice, thread, 110)
        [text] = answers(alice, thread)
        if run["status"] == "success":
            assert text == "".join(words)
        else:
            assert run["status"] == "lost"
            assert text
            assert "".join(words).startswith(text)
    assert all(fake.seen for fake in fakes)


def test_questions_whose_worker_died_before_the_first_word_are_put_again(cast: Cast, alice: Person) -> None:
    expected = {"openai": "Hello again", "langgraph": "Hello", "function": "Hello again"}
    threads = {}
    for kind in expected:  # a graph's run lives on, and is joined
        fake = cast.plays(kind, "Hello", pause=8 if kind == "langgraph" else 3600)
        threads[kind] = ask(alice, kind)
        until(lambda fake=fake: any(seen["path"].endswith(STREAMED) for seen in fake.seen))
    kill_both_workers(cast.server)
    for kind in expected:
        cast.plays(kind, "Hello again")
    for kind, thread in threads.items():
        until(lambda kind=kind, thread=thread: answers(alice, thread) == [expected[kind]], 60)
        assert run_of(alice, thread)["attempts"] == 2


def test_a_stopping_worker_ends_what_it_writes_at_once(cast: Cast, alice: Person) -> None:
    cast.plays("openai", *(f"word{number} " for number in range(1000)), pause=0.05)
    thread = ask(alice, "openai")
    until(lambda: alice.call("GET", f"/runs/{run_of(alice, thread)['id']}/partial")[1].get("text"))
    os.kill(cast.server.pid, signal.SIGHUP)
    run = ended(alice, thread, 30)
    assert (run["status"], run["error"]) == ("lost", "The server stopped in the middle of this answer.")
    assert answers(alice, thread)[0].startswith("word0 word1 ")


def test_a_function_yields_typed_events(cast: Cast, alice: Person) -> None:
    thread = ask(alice, "typed", "quite")
    until(lambda: answers(alice, thread) == ["QUITE"])
    parts = alice.history(thread)[1]["parts"]
    assert parts["stages"][0]["name"] == "retrieval"
    assert parts["sources"] == [{"title": "A book", "score": 0.5}]
    thread = ask(alice, "typed", "fail")
    assert ended(alice, thread)["error"] == "The agent failed."
    assert answers(alice, thread) == ["FAIL"]


# LangGraph alone


def test_a_graph_that_asks_waits_for_the_person_and_is_resumed(cast: Cast, alice: Person) -> None:
    fake = cast.plays("langgraph", question={"question": "Shall I buy it?"})
    thread = ask(alice, "langgraph", "Buy a house")
    assert ended(alice, thread)["status"] == "waiting"
    assert answers(alice, thread) == ["Shall I buy it?"]
    until(lambda: any(seen["path"] == "webhook" and seen["status"] == 200 for seen in fake.seen))
    assert run_of(alice, thread)["status"] == "waiting", "the run's webhook says nothing new"
    cast.plays("langgraph", "Bought.")
    alice.say(thread, "yes")
    until(lambda: answers(alice, thread)[-1] == "Bought.")
    [begun] = [seen["body"] for seen in fake.seen if seen["path"].endswith("/runs/stream")]
    assert begun["command"] == {"resume": "yes"}
    assert "input" not in begun


def test_the_webhook_of_a_run_that_was_streamed_is_known_for_a_repeat(cast: Cast, alice: Person) -> None:
    fake = cast.plays("langgraph", *WORDS)
    thread = ask(alice, "langgraph")
    webhook = until(lambda: next((seen for seen in fake.seen if seen["path"] == "webhook"), None))
    assert webhook["status"] == 200
    until(lambda: answers(alice, thread) == [TEXT])
    assert ended(alice, thread)["status"] == "success"
    named = [run for run in runs_in(cast.server, thread) if run.external_id != run.id]
    assert len(named) == 1, "it has the name that LangGraph gave it"


def test_a_graph_need_not_be_streamed(cast: Cast, alice: Person) -> None:
    fake = cast.fakes["langgraph"]
    fake.plays(*WORDS, webhook_token="token of later", pause=0.02)
    thread = ask(alice, "later")
    until(lambda: answers(alice, thread) == [TEXT])
    assert ended(alice, thread)["status"] == "success"
    assert [seen["path"] for seen in fake.seen if seen["path"].endswith("/stream")] == []
    assert len(runs_in(cast.server, thread)) == 1


def test_a_graph_s_tools_are_shown(cast: Cast, alice: Person) -> None:
    cast.plays("langgraph", "It is ", "noon.", tool={"name": "clock", "input": {"zone": "UTC"}, "output": "12:00"})
    thread = ask(alice, "langgraph")
    until(lambda: answers(alice, thread) == ["It is noon."])
    [tool] = alice.history(thread)[1]["parts"]["tools"]
    assert tool == {"name": "clock", "id": "call_1", "status": "success", "input": '{"zone": "UTC"}', "output": "12:00"}


def test_a_graph_that_fails_says_why(cast: Cast, alice: Person) -> None:
    cast.plays("langgraph", *WORDS, manner="error")
    thread = ask(alice, "langgraph")
    assert ended(alice, thread)["error"] == "The graph failed: it broke."
    assert answers(alice, thread) == [TEXT]


def test_neither_keys_nor_what_people_say_are_in_the_log(cast: Cast) -> None:
    """P58; the last test of this file, after all that went wrong above."""
    log = cast.server.log()
    assert "Traceback" not in log
    for secret in (KEY, PROMPT, "said fail", "token of"):
        assert secret not in log


def runs_in(server: Server, thread: str) -> list[Run]:
    return store_of(server).read(lambda s: list(s.query(Run).filter_by(thread_id=thread)))
