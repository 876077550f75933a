"""Leaving in good order: every stream is told to come back and ends cleanly, and nobody misses anything."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack

import gevent

from tests.live.people import newcomer
from tests.live.reader import named
from tests.live.talk import Talk, settle
from tests.server import Server
from tests.until import until

STREAMS = 50


def test_sigterm_says_bye_to_every_stream_and_ends_it_cleanly(breakable: Server) -> None:
    alice = newcomer(breakable)
    thread_id = alice.new_thread()
    with ExitStack() as stack:
        readers = [stack.enter_context(alice.reader()) for _ in range(STREAMS)]
        for reader in readers:
            reader.wait("ready")
        breakable.reply(thread_id, "the last word", f"{thread_id} last")
        os.kill(breakable.pid, signal.SIGTERM)
        ends = [reader.wait_for_end() for reader in readers]
    assert ends == ["clean"] * STREAMS
    for reader in readers:
        bye = reader.events[-1]
        assert (bye.event, bye.json["reason"]) == ("bye", "drain")
        assert 2000 <= bye.json["retry_ms"] <= 5000
        assert bye.retry == bye.json["retry_ms"]
    breakable.stop()
    breakable.start()
    for reader in readers[::10]:
        # The cursor of the `bye` brings back exactly to where the stream was.
        with alice.reader(cursor=reader.cursor) as again:
            again.wait("ready")
            breakable.reply(thread_id, "the first word", f"{thread_id} first")
            again.wait_for_text("the first word")
            heard = [event.json["text"] for event in named([*reader.events, *again.events], "message")]
            assert heard == ["the last word", "the first word"]


def test_hup_refuses_nobody_and_nobody_misses_anything(breakable: Server) -> None:
    alice = newcomer(breakable)
    thread_id = alice.new_thread()
    answers: list[int] = []
    with ExitStack() as stack:
        followers = [stack.enter_context(alice.follower(cursor=alice.cursor)) for _ in range(10)]
        for follower in followers:
            follower.wait("ready")
        knocking = gevent.spawn(knock, breakable, answers)
        with Talk(alice, thread_id) as talk:
            talk.goes_on()
            before = breakable.workers()
            os.kill(breakable.pid, signal.SIGHUP)
            until(lambda: not set(before) & set(breakable.workers()) and len(breakable.workers()) == 2, 30)
            talk.goes_on()
        settle(talk, alice, thread_id, followers)
        knocking.kill()
        assert not knocking.exception, knocking.exception
    assert len(answers) > 30
    assert set(answers) == {200}
    for follower in followers:
        # Twice, if it came back at once to a worker that was about to leave as well.
        assert {event.json["reason"] for event in named(follower.events, "bye")} == {"drain"}
        assert follower.ends[0] == "clean"


def knock(server: Server, answers: list[int]) -> None:
    """Ask again and again, by a new connection each time."""
    while True:
        answers.append(server.call("GET", "/health/live", token=None)[0])
        gevent.sleep(0.02)


def test_at_a_hup_the_old_workers_stay_until_the_new_ones_serve(breakable: Server) -> None:
    """Else webhooks would wait for as long as a worker takes to load."""
    old, before = breakable.workers(), len(breakable.log())
    os.kill(breakable.pid, signal.SIGHUP)
    until(lambda: not set(old) & set(breakable.workers()) and len(breakable.workers()) == 2, 60)
    lines = breakable.log()[before:].splitlines()
    leaving = next(n for n, line in enumerate(lines) if "Worker exiting" in line)
    assert sum("hearing the broker" in line for line in lines[:leaving]) == 2
