"""An agent that is gone in the middle of an answer, and one that only thinks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agents.client import Answer
from chat.models import Thread
from chat.runs import newest
from tests.conftest import running
from tests.live.people import Person, newcomer, store_of
from tests.live.test_outbox import Agent
from tests.server import Server
from tests.until import until


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory, agent_port: int) -> Iterator[Server]:
    data_dir = tmp_path_factory.mktemp("impatient")
    yield from running(data_dir, PAUSE_SECONDS=3, AGENT_ALLOW=f"127.0.0.1:{agent_port}")


@pytest.fixture
def alice(impatient: Server) -> Person:
    return newcomer(impatient)


def status_of(person: Person, thread_id: str) -> str | None:
    """Of the thread's newest run."""
    run = store_of(person.server).read(lambda s: newest(s, s.get_one(Thread, thread_id)))
    return run and run.status


def texts(person: Person, thread_id: str) -> list[str]:
    return [message["text"] for message in person.history(thread_id)]


def test_an_agent_killed_in_the_middle_leaves_what_it_wrote_and_can_be_asked_again(
    impatient: Server, alice: Person, agent_port: int
) -> None:
    agent = Agent(impatient, agent_port)
    thread_id = alice.new_thread(agent.name)
    agent.start("half")
    with alice.reader(f"/stream?focus={thread_id}") as reader:
        alice.say(thread_id, "are you there?")
        reader.wait("delta")
        agent.kill()
        until(lambda: status_of(alice, thread_id) == "lost", 30)
        assert texts(alice, thread_id) == ["are you there?", "Half an answer"]
        agent.start("answer")
        try:
            assert alice.call("POST", f"/threads/{thread_id}/retry")[0] == 201
            reader.wait_for_text("answer to are you there?")
        finally:
            agent.kill()
    assert status_of(alice, thread_id) == "success"


def test_an_agent_that_only_thinks_is_waited_for(impatient: Server, alice: Person) -> None:
    """Its connection is there: twice as long as another may pause, and nothing happens."""
    thread_id, other = alice.new_thread(), alice.new_thread()
    thinks = Answer(f"{impatient.url}/webhook/events", thread_id, f"{thread_id} 1", token=impatient.agent_token)
    thinks.token("Hm")
    for number in range(2):  # who ends a body before its answer pauses, and is not heard of again
        body = f'{{"thread_id": "{other}", "run_id": "{other} {number}"}}\n{{"type": "token", "text": "a"}}\n'.encode()
        headers = {"Content-Type": "application/x-ndjson", "Authorization": f"Bearer {impatient.agent_token}"}
        assert impatient.raw("POST", "/webhook/events", body, None, headers)[0] == 200
        until(lambda: status_of(alice, other) == "lost", 30)
    assert status_of(alice, thread_id) == "running"
    thinks.token("m.")
    thinks.done()
    assert texts(alice, thread_id) == ["Hmm."]
