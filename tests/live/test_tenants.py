"""Alice owns, Bob belongs to her tenant, Charlie to another: what is hers looks to both as if it did not exist."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import uuid4

import pytest

from tests.live.people import Person, agent_by_command, by_command, command, newcomer
from tests.live.reader import texts
from tests.server import Server

# Every door that names a thread.
DOORS = [
    ("GET", "/threads/{}/messages", None),
    ("POST", "/threads/{}/messages", {"text": "let me in"}),
    ("GET", "/threads/{}/events", None),
    ("POST", "/threads/{}/read", {"seq": 1}),
    ("POST", "/threads/{}/retry", None),
    ("DELETE", "/threads/{}", None),
]


@dataclass
class People:
    alice: Person
    bob: Person
    charlie: Person
    olga: Person
    charlies_agent: dict[str, str]


@pytest.fixture(scope="module")
def people(server: Server) -> People:
    """Charlie, his tenant and his agent are made at the terminal, as an operator would make them."""
    mark = uuid4().hex[:8]
    agent = agent_by_command(server, "echo", f"Evil Corp {mark}")
    charlie = by_command(server, f"charlie-{mark}@example.com", f"Evil Corp {mark}", "admin")
    return People(newcomer(server), newcomer(server), charlie, newcomer(server, "operator"), agent)


@pytest.fixture
def thread_id(people: People) -> str:
    """Alice's thread, with something in it."""
    thread_id = people.alice.new_thread()
    people.alice.server.reply(thread_id, "for Alice alone", f"{thread_id} alone")
    return thread_id


@pytest.mark.parametrize("who", ["bob", "charlie"])
@pytest.mark.parametrize(("method", "path", "body"), DOORS)
def test_a_thread_of_somebody_else_looks_like_none(
    people: People, thread_id: str, who: str, method: str, path: str, body: object
) -> None:
    person: Person = getattr(people, who)
    server = person.server
    foreign = server.raw(method, path.format(thread_id), body, person.token)
    unknown = server.raw(method, path.format(uuid4()), body, person.token)
    assert (foreign[0], foreign[2]) == (404, unknown[2])
    assert foreign[1].keys() == unknown[1].keys()
    assert [message["text"] for message in people.alice.history(thread_id)] == ["for Alice alone"]


@pytest.mark.parametrize(("method", "path", "body"), DOORS)
def test_the_same_doors_open_for_the_owner(
    people: People, thread_id: str, method: str, path: str, body: object
) -> None:
    if "events" in path or "stream" in path:
        with people.alice.reader(path.format(thread_id)) as reader:
            reader.wait("ready")
            return
    # 409: she may ask, but nothing has failed.
    assert people.alice.call(method, path.format(thread_id), body)[0] in (200, 201, 204, 409)


def test_nothing_of_alice_is_in_charlies_stream_whatever_he_asks_for(people: People, thread_id: str) -> None:
    alice, charlie = people.alice, people.charlie
    own = charlie.new_thread()
    asks = [
        "/stream",
        "/stream?participant_id=" + alice.call("GET", "/session")[1]["participant"]["id"],
        "/stream?last_event_id=" + alice.cursor,
    ]
    readers = [charlie.reader(path).open() for path in asks]
    hers = alice.reader().open()
    for reader in (*readers, hers):
        reader.wait("ready")
    alice.server.reply(thread_id, "hush", f"{thread_id} hush")
    hers.wait_for_text("hush")
    mark = uuid4().hex
    body = {"thread_id": own, "message": {"text": mark}}
    token = people.charlies_agent["agent_token"]
    assert alice.server.call("POST", "/webhook/chat-response", body, token, {"Idempotency-Key": mark})[0] == 200
    for reader in readers:
        reader.wait_for_text(mark)
        reader.close()
        assert texts(reader.events) == [mark]
        assert not [event for event in reader.events if thread_id in event.data]
    hers.close()
    assert "hush" in texts(hers.events)


def test_lists_show_ones_own_threads_alone(people: People, thread_id: str) -> None:
    own = people.charlie.new_thread()
    for person, expected in ((people.alice, True), (people.bob, False), (people.charlie, False)):
        listed = {thread["id"] for thread in person.call("GET", "/threads?limit=200")[1]["items"]}
        assert (thread_id in listed) is expected
    assert own in {thread["id"] for thread in people.charlie.call("GET", "/threads")[1]["items"]}


def test_an_agent_of_another_tenant_cannot_speak_in_alices_thread(people: People, thread_id: str) -> None:
    server, token = people.alice.server, people.charlies_agent["agent_token"]
    answers = [
        server.raw("POST", "/webhook/chat-response", {"thread_id": id, "message": {"text": "x"}, "run_id": "r"}, token)
        for id in (thread_id, str(uuid4()))
    ]
    assert [answer[0] for answer in answers] == [404, 404]
    assert answers[0][2] == answers[1][2]
    assert [message["text"] for message in people.alice.history(thread_id)] == ["for Alice alone"]


def test_charlie_cannot_open_a_thread_with_an_agent_of_alices_tenant(people: People, thread_id: str) -> None:
    agent = people.alice.call("GET", "/threads")[1]["items"][0]["agent"]
    foreign = people.charlie.call("POST", "/threads", {"agent": agent["id"]})
    unknown = people.charlie.call("POST", "/threads", {"agent": str(uuid4())})
    assert foreign == unknown
    assert foreign[0] == 400


def test_the_same_client_id_and_key_of_two_people_do_not_meet(people: People, thread_id: str) -> None:
    """P53: a key is never wider than its owner."""
    own = people.charlie.new_thread()
    hers = people.alice.say(thread_id, "mine", client_id="c1")
    his = people.charlie.say(own, "also mine", client_id="c1")
    assert (hers["text"], his["text"]) == ("mine", "also mine")


def test_an_operator_may_watch_a_thread_of_the_tenant_and_say_nothing_in_it(people: People, thread_id: str) -> None:
    with people.olga.reader(f"/threads/{thread_id}/events") as reader:
        reader.wait("ready")
        people.alice.server.reply(thread_id, "watched", f"{thread_id} watched")
        reader.wait_for_text("watched")
    assert people.olga.call("POST", f"/threads/{thread_id}/messages", {"text": "x"})[0] == 404
    with people.charlie.reader(f"/threads/{thread_id}/events") as reader:  # an admin, but elsewhere
        assert reader.status == 404


def test_a_name_that_is_taken_and_a_user_that_is_unknown_are_told_in_one_line(people: People) -> None:
    for words in (
        ["add-user", people.bob.name, "--tenant", "demo", "--password", "x"],
        ["add-key", "nobody@example.com"],
    ):
        with pytest.raises(AssertionError, match=r"^Error: There is (a|no) user [^\n]+\n"):
            command(people.bob.server, *words)
