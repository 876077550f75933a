"""The main job from outside: a person writes, the agent answers, every open stream shows both, once and in order."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from contextlib import suppress

import gevent
import pytest
from gevent.server import StreamServer
from gevent.socket import create_connection, socket

from tests.live.people import Person
from tests.live.reader import Follower, messages, named, seqs, texts
from tests.live.writer import Writer
from tests.server import Server
from tests.until import until

PROMPT = 1.0  # seconds, for the median: well below the tick, which would bring it too


@pytest.fixture(scope="module")
def server(either_server: Server) -> Server:
    return either_server


def test_a_stream_shows_what_person_and_agent_say_and_continues_from_any_cursor(server: Server) -> None:
    """The README's script: the demo's own token, its own agent, and curl's view of both."""
    thread_id = server.new_thread()
    path = f"/threads/{thread_id}/events"
    person = Person(server, server.name, server.token)
    with person.reader(path) as reader:
        [ready] = reader.wait("ready")
        assert set(ready.json) == {"head", "ping", "conn"}
        server.say(thread_id, "good morning")
        said = reader.wait_for_text("You said: good morning")
        assert [message["direction"] for message in said] == ["incoming", "outgoing"]
        until(lambda: named(reader.events, "run")[-1].json["status"] == "success")
        heard = [event for event in reader.events if event.event in ("message", "thread", "run")]
    middle = len(heard) // 2
    with person.reader(path, cursor=heard[middle - 1].id) as again:
        server.reply(thread_id, "the end", f"end of {thread_id}")
        again.wait_for_text("the end")
        assert [event.id for event in again.events[1:-1]] == [event.id for event in heard[middle:]]
    assert 0 < middle < len(heard)


def test_the_header_wins_over_the_cursor_in_the_address(server: Server, alice: Person) -> None:
    _, cursors = talk(alice, 4)
    with alice.reader(f"/stream?last_event_id={cursors[0]}") as reader:
        reader.wait_for_text("word 3")
        assert texts(reader.events) == ["word 0", "word 1", "word 2", "word 3"]
    with alice.reader(f"/stream?last_event_id={cursors[0]}", cursor=cursors[3]) as reader:
        reader.wait_for_text("word 3")
        assert texts(reader.events) == ["word 3"]


def talk(person: Person, count: int) -> tuple[str, list[str]]:
    """The agent says so many words in a new thread; return it, the cursor before each word and that after the last."""
    thread_id = person.new_thread()
    epoch, _, head = person.cursor.partition(".")
    for number in range(count):
        assert person.server.reply(thread_id, f"word {number}", f"{thread_id} {number}")[0] == 200
    return thread_id, [f"{epoch}.{int(head) + number}" for number in range(count + 1)]


@pytest.mark.parametrize("path", ["/stream", "/threads/{}/events"])
def test_a_stream_resumed_at_any_point_gives_exactly_the_rest(server: Server, alice: Person, path: str) -> None:
    """P3: a log of 30, cut everywhere."""
    thread_id, cursors = talk(alice, 30)
    for cut, cursor in enumerate(cursors):
        end = f"end {path} {cut}"
        with alice.reader(path.format(thread_id), cursor=cursor) as reader:
            if cut == 30:
                reader.wait("ready")
                server.reply(thread_id, end, f"{thread_id} {end}")
                reader.wait_for_text(end)
            else:
                reader.wait_for_text("word 29")
            assert texts(reader.events)[: 30 - cut] == [f"word {number}" for number in range(cut, 30)]
            assert reader.events[0].id == cursor
    assert texts(reader.events) == [end]


def test_what_is_said_the_instant_a_stream_is_ready_arrives(server: Server, alice: Person) -> None:
    """P1: 1,000 times, and by the ring, not by the tick that follows. On PostgreSQL 200: streams are the same there."""
    thread_id, waits, writer = alice.new_thread(), [], Writer(server.url, server.agent_token)
    for number in range(1000 if server.database_url.startswith("sqlite") else 200):
        with alice.reader() as reader:
            reader.wait("ready")
            began = time.monotonic()
            writer.post(thread_id, f"word {number}", f"{thread_id} {number}")
            reader.wait_for_text(f"word {number}")
            waits.append(time.monotonic() - began)
            assert texts(reader.events) == [f"word {number}"]
    print(f"POST to event: median {statistics.median(waits) * 1000:.0f} ms, worst {max(waits) * 1000:.0f} ms")
    writer.close()
    assert statistics.median(waits) < PROMPT


def test_what_is_said_between_history_and_stream_is_shown_once(server: Server, alice: Person) -> None:
    """P2: the page's cursor comes with its history; what commits after it comes by the stream."""
    thread_id = alice.new_thread()
    for number in range(30):
        keys = [f"{thread_id} {number} {part}" for part in ("before", "between", "behind")]
        server.reply(thread_id, keys[0], keys[0])
        posting = gevent.spawn(server.reply, thread_id, keys[1], keys[1])
        gevent.sleep(random.uniform(0, 0.02))  # anywhere around the two requests
        page = alice.call("GET", f"/threads/{thread_id}/messages?limit=200")[1]
        with alice.reader(cursor=page["cursor"]) as reader:
            posting.join()
            server.reply(thread_id, keys[2], keys[2])
            streamed = reader.wait_for_text(keys[2])
        shown = [message["text"] for message in page["items"] + streamed]
        assert [text for text in shown if text in keys] == keys


class Cutter:
    """A proxy that cuts every connection in the middle, after so many bytes of the answer, and counts its cuts."""

    def __init__(self, port: int, after: Callable[[], int]) -> None:
        self._port, self._after = port, after
        self._server = StreamServer(("127.0.0.1", 0), self._serve)
        self.cuts = 0

    def __enter__(self) -> Cutter:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def _serve(self, client: socket, _address: object) -> None:
        left = self._after()
        with suppress(OSError), client, create_connection(("127.0.0.1", self._port)) as server:
            server.sendall(client.recv(65536))  # a GET without a body fits into one segment
            while left > 0 and (chunk := server.recv(left)):
                client.sendall(chunk)
                left -= len(chunk)
            self.cuts += left <= 0


def test_a_client_whose_connections_are_cut_anywhere_comes_back_and_has_everything_once(
    server: Server, alice: Person
) -> None:
    """P6: cut in the head, in a frame, between frames; the end of a body is never taken for the end of the answer."""
    luck = random.Random(7)
    start = alice.cursor
    with (
        Cutter(server.port, after=lambda: luck.randint(1, 4000)) as cutter,
        Follower(cutter.url, "/stream", alice.token, start, pause=lambda: 0.01) as follower,
    ):
        talk(alice, 30)
        follower.wait_for_text("word 29")
    assert cutter.cuts > 5
    assert "cut" in follower.ends
    assert texts(follower.events) == [f"word {number}" for number in range(30)]


def test_a_second_page_sees_what_the_first_one_says_and_how_its_question_fares(server: Server, alice: Person) -> None:
    """P13, P14: the person's own messages come to all pages; so does every change of what is known already."""
    thread_id = alice.new_thread()
    with alice.reader() as first, alice.reader(f"/threads/{thread_id}/events") as second:
        for reader in (first, second):
            reader.wait("ready")
        alice.say(thread_id, "from the first page", client_id="c1")
        for reader in (first, second):
            said = reader.wait_for_text("You said: from the first page")
            assert [message["client_id"] for message in said] == ["c1", None]
            until(lambda reader=reader: named(reader.events, "run")[-1].json["status"] == "success")
            runs = [event.json for event in named(reader.events, "run")]
            assert [run["change"] for run in runs] == ["created"] + ["updated"] * (len(runs) - 1)
            assert len({run["id"] for run in runs}) == 1
            assert [run["rev"] for run in runs] == sorted({run["rev"] for run in runs})
        assert seqs(first.events) == seqs(second.events)


def test_an_edited_message_reaches_open_streams_as_an_update(server: Server, alice: Person) -> None:
    """P14, without any ring: another process writes, and the tick finds it."""
    thread_id, _ = talk(alice, 1)
    with alice.reader() as reader:
        reader.wait("ready")
        [message] = alice.history(thread_id)
        server.edit(message["id"], "word 0, corrected")
        [event] = reader.wait("message")
    assert (event.json["id"], event.json["text"]) == (message["id"], "word 0, corrected")
    assert event.json["change"] == "updated"
    assert event.json["rev"] > event.json["seq"] == message["seq"]


def test_a_threads_stream_shows_that_thread_alone(server: Server, alice: Person) -> None:
    one, other = alice.new_thread(), alice.new_thread()
    with alice.reader(f"/threads/{one}/events") as reader:
        reader.wait("ready")
        for number in range(5):
            server.reply(other, f"elsewhere {number}", f"{other} {number}")
            server.reply(one, f"here {number}", f"{one} {number}")
        reader.wait_for_text("here 4")
        assert texts(reader.events) == [f"here {number}" for number in range(5)]
        assert {message["thread_id"] for message in messages(reader.events)} == {one}
        assert reader.cursor == alice.cursor  # what was hidden has moved the cursor too
