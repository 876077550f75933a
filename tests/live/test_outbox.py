"""The outbox: a question that was taken reaches its agent, or the person sees that it did not."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import func, select, update
from standardwebhooks import Webhook

from chat.models import Dispatch, Run
from tests.live.kills import kill_both_workers
from tests.live.people import Person, agent_by_command, newcomer, store_of
from tests.live.reader import Reader, named
from tests.server import OPENER, ROOT, Server
from tests.until import until

ATTEMPTS = 3  # tests.server waits twice


class Agent:
    """The test's hand on a fake agent's process."""

    def __init__(self, server: Server, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/ask"
        self.name = f"agent-{uuid4().hex[:8]}"
        known = agent_by_command(server, self.name, "demo", self.url)
        self.id, self.token, self.secret = known["agent_id"], known["agent_token"], known["webhook_secret"]
        self._port = port

    def start(self, mode: str) -> None:
        argv = [sys.executable, "-m", "tests.live.fake_agent", str(self._port), self.token, mode]
        self._process = subprocess.Popen(argv, cwd=ROOT)
        until(self.is_up)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def is_up(self) -> bool:
        try:
            return self.asked == []
        except OSError:
            return False

    def be(self, mode: str) -> None:
        OPENER.open(urllib.request.Request(self.url, mode.encode(), method="PUT"), timeout=10).close()

    @property
    def asked(self) -> list[dict[str, Any]]:
        with OPENER.open(self.url, timeout=10) as response:
            return json.load(response)  # type: ignore[no-any-return]


@pytest.fixture
def agent(breakable: Server, agent_port: int) -> Iterator[Agent]:
    agent = Agent(breakable, agent_port)
    agent.start("answer")
    yield agent
    agent.kill()


@pytest.fixture
def bob(breakable: Server) -> Person:
    return newcomer(breakable)


def runs(reader: Reader) -> list[dict[str, Any]]:
    return [event.json for event in named(reader.events, "run")]


def wait_for_run(reader: Reader, status: str) -> dict[str, Any]:
    """Wait until the newest run has this status."""
    until(lambda: runs(reader) and runs(reader)[-1]["status"] == status, 60)
    return runs(reader)[-1]


def test_an_agent_is_asked_with_a_signature_it_can_check_and_answers(bob: Person, agent: Agent) -> None:
    thread_id = bob.new_thread(agent.name)
    with bob.reader() as reader:
        bob.say(thread_id, "first")
        reader.wait_for_text("answer to first")
        question = bob.say(thread_id, "second")
        reader.wait_for_text("answer to second")
        run = wait_for_run(reader, "success")
    first, second = agent.asked
    body = Webhook(agent.secret).verify(
        second["body"], {name.lower(): text for name, text in second["headers"].items()}
    )
    assert body["run_id"] == run["id"] == second["headers"]["webhook-id"]
    assert body["message"]["id"] == question["id"]
    assert [message["text"] for message in body["history"]] == ["first", "answer to first"]
    assert body["callback_url"].startswith(bob.server.url)
    assert first["headers"]["webhook-id"] != second["headers"]["webhook-id"]


@pytest.mark.parametrize(("mode", "error"), [("refuse", "400"), ("fail", "500"), ("dead", "could not be reached")])
def test_a_question_that_no_agent_takes_is_put_again_then_fails_where_the_person_looks_and_can_be_retried(
    bob: Person, agent: Agent, mode: str, error: str
) -> None:
    thread_id = bob.new_thread(agent.name)
    agent.kill() if mode == "dead" else agent.be(mode)
    with bob.reader() as reader:
        question = bob.say(thread_id, "hello")
        failed = wait_for_run(reader, "error")
        assert error in failed["error"]
        assert (failed["message_id"], failed["attempts"]) == (question["id"], ATTEMPTS)
        if mode == "dead":
            agent.start("answer")
        else:
            assert [asked["headers"]["webhook-id"] for asked in agent.asked] == [failed["id"]] * ATTEMPTS
            agent.be("answer")
        status, again = bob.call("POST", f"/threads/{thread_id}/retry")
        assert status == 201
        assert again["id"] > failed["id"]
        reader.wait_for_text("answer to hello")
        assert wait_for_run(reader, "success")["id"] == again["id"]
        assert bob.call("POST", f"/threads/{thread_id}/retry")[0] == 409  # nothing has failed now


def test_an_agent_that_takes_its_time_is_not_asked_again(bob: Person, agent: Agent) -> None:
    """A read timeout after the question was sent whole means that the agent has it."""
    thread_id = bob.new_thread(agent.name)
    agent.be("hang")
    with bob.reader() as reader:
        bob.say(thread_id, "think")
        until(lambda: accepted(bob.server, agent) == 1, 30)
        [asked] = agent.asked
        bob.server.call(
            "POST",
            "/webhook/chat-response",
            {"thread_id": thread_id, "run_id": asked["headers"]["webhook-id"], "message": {"text": "at last"}},
            agent.token,
        )
        reader.wait_for_text("at last")
        wait_for_run(reader, "success")
        assert {run["attempts"] for run in runs(reader)} <= {0, 1}
    assert len(agent.asked) == 1
    assert accepted(bob.server, agent) == 0  # the answer has closed its row


def accepted(server: Server, agent: Agent) -> int:
    """How many questions the agent has accepted and not answered."""
    query = select(func.count()).select_from(Dispatch).join(Run, Run.id == Dispatch.run_id)
    query = query.where(Run.agent_id == agent.id, Dispatch.accepted_at.is_not(None))
    return store_of(server).peek(lambda s: s.scalar(query) or 0)


def test_a_thread_puts_one_question_at_a_time(bob: Person, agent: Agent) -> None:
    """P36: the second question waits for the answer to the first."""
    thread_id = bob.new_thread(agent.name)
    agent.be("accept")
    with bob.reader() as reader:
        bob.say(thread_id, "one")
        bob.say(thread_id, "two")
        until(lambda: accepted(bob.server, agent) == 1)
        agent.be("answer")
        [first] = agent.asked
        answer = {"thread_id": thread_id, "run_id": first["headers"]["webhook-id"], "message": {"text": "to one"}}
        assert bob.server.call("POST", "/webhook/chat-response", answer, agent.token)[0] == 200
        said = reader.wait_for_text("answer to two")
        new = [message["text"] for message in said if message["change"] == "created"]
        assert new == ["one", "two", "to one", "answer to two"]
    assert [json.loads(asked["body"])["message"]["text"] for asked in agent.asked] == ["one", "two"]


def test_a_question_whose_worker_was_killed_while_it_was_put_is_put_again(bob: Person, agent: Agent) -> None:
    """The lease runs out; the agent knows the repeat by its webhook-id."""
    thread_id = bob.new_thread(agent.name)
    agent.be("hang")
    with bob.follower(cursor=bob.cursor) as follower:
        bob.say(thread_id, "are you there?")
        until(lambda: len(agent.asked) == 1, 30)
        kill_both_workers(bob.server)
        agent.be("answer")
        assert end_leases(bob.server, agent) == 1
        follower.wait_for_text("answer to are you there?")
    assert [asked["headers"]["webhook-id"] for asked in agent.asked] == [agent.asked[0]["headers"]["webhook-id"]] * 2
    assert [message["text"] for message in bob.history(thread_id)] == ["are you there?", "answer to are you there?"]


def end_leases(server: Server, agent: Agent) -> int:
    """Let the time pass that a lease lasts; return how many there were."""
    mine = select(Run.id).where(Run.agent_id == agent.id)
    change = update(Dispatch).where(Dispatch.run_id.in_(mine), Dispatch.lease.is_not(None)).values(leased_until=0)
    return store_of(server).write(lambda s: s.execute(change).rowcount)  # type: ignore[attr-defined]
