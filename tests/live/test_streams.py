"""Streams as guests: they leave nothing behind, and go when they are no longer welcome."""

from __future__ import annotations

import gc
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from uuid import uuid4

import gevent
import pytest
from flask import Flask
from gevent.pywsgi import WSGIHandler, WSGIServer
from redis import Redis
from sqlalchemy import update

from app import create_app
from chat import accounts
from chat.ids import now_ms
from chat.models import SignIn
from config import Config
from prepare import migrate
from realtime import broker
from realtime.hub import LINGER
from tests.live.faults.gauges import metric
from tests.live.people import Person, by_command, command, newcomer, store_of
from tests.live.reader import Reader, named, texts
from tests.server import Server
from tests.until import until

STREAMS = 200
REVOKED = 5.0  # seconds
SLACK = 5  # times the promised figure

# What comes and goes


def test_two_hundred_streams_on_silent_logs_come_and_go_and_leave_nothing(server: Server) -> None:
    """P15, P16: nobody says a word, and still each closed connection is noticed at once."""
    people = [newcomer(server) for _ in range(20)]
    with people[0].reader() as reader:
        reader.wait("ready")
    files = open_files(server)
    readers = [people[number % 20].reader().open() for number in range(STREAMS)]
    for reader in readers:
        reader.wait("ready")
    assert sum(open_files(server)) >= sum(files) + STREAMS - 10
    assert len(channels(server)) >= 20
    assert clients(server) <= 3 * len(server.workers()), "a few for each worker: to hear, to speak, to count"
    for reader in readers:
        reader.close()
    until(lambda: all(now <= before + 2 for now, before in zip(open_files(server), files, strict=True)))
    until(lambda: not channels(server), LINGER * 2)


def open_files(server: Server) -> list[int]:
    return [len(os.listdir(f"/proc/{pid}/fd")) for pid in sorted(server.workers())]


def the_broker(server: Server) -> Redis:
    return Redis(unix_socket_path=str(broker.socket_path(server.data_dir)), protocol=2)


def clients(server: Server) -> int:
    """The broker's connections, but for ours that asks."""
    with the_broker(server) as redis:
        return len(redis.client_list()) - 1


def channels(server: Server) -> list[bytes]:
    """The logs' channels that any worker listens to."""
    with the_broker(server) as redis:
        return list(redis.pubsub_channels("sse:*"))


# Inside: the same application in this process, where its pools can be looked into


class Handler(WSGIHandler):
    """Shows the application its socket, as gunicorn does."""

    def get_environ(self) -> dict[str, Any]:
        return {**super().get_environ(), "gunicorn.socket": self.socket}


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Config]:
    socket_path = broker.socket_path(tmp_path)
    process = subprocess.Popen(broker.command(tmp_path, socket_path))
    broker.wait_until_ready(socket_path, tmp_path)
    yield Config(DATA_DIR=str(tmp_path), REDIS_URL=f"unix://{socket_path}", STREAMS_PER_USER=0)
    process.kill()
    process.wait()


@pytest.fixture
def inside(settings: Config) -> Iterator[tuple[Flask, str, str]]:
    """The application, its address, and the token of somebody in it."""
    migrate(settings.database_url)
    app = create_app(settings)
    token = app.extensions["store"].write(
        lambda s: accounts.add_key(s, accounts.add_user(s, accounts.add_tenant(s, "acme"), "a@example.com", "-"), "key")
    )
    app.extensions["hub"].start()
    server = WSGIServer(("127.0.0.1", 0), app, log=None, handler_class=Handler)
    server.start()
    yield app, f"http://127.0.0.1:{server.server_port}", token
    server.stop()
    app.extensions["hub"].drain()


def test_open_streams_hold_no_connection_of_the_store_and_no_greenlet_when_gone(
    inside: tuple[Flask, str, str],
) -> None:
    """P66-P68."""
    app, url, token = inside
    hub, store = app.extensions["hub"], app.extensions["store"]
    with Reader(url, token=token) as reader:
        reader.wait("ready")
    until(lambda: not hub.streams)
    before = greenlets()
    readers = [Reader(url, token=token).open() for _ in range(STREAMS)]
    for reader in readers:
        reader.wait("ready")
    assert len(hub.streams) == STREAMS
    assert store.in_use == 0
    assert len(hub._tails) == 1
    assert greenlets() >= before + STREAMS  # it counts
    for reader in readers:
        reader.close()
    until(lambda: not hub.streams)
    until(lambda: greenlets() <= before + 2)
    assert store.in_use == 0
    [tail] = hub._tails.values()
    assert not tail.readers


def greenlets() -> int:
    gc.collect()
    return sum(isinstance(thing, gevent.Greenlet) and not thing.dead for thing in gc.get_objects())


# Who may not come in

GUARDED = [
    ("GET", "/stream"),
    ("GET", "/stream?focus=<thread_id>"),
    ("GET", "/threads/<thread_id>/events"),
    ("GET", "/threads"),
    ("POST", "/threads"),
    ("DELETE", "/threads/<thread_id>"),
    ("POST", "/threads/<thread_id>/read"),
    ("POST", "/threads/<thread_id>/stop"),
    ("POST", "/threads/<thread_id>/retry"),
    ("POST", "/threads/<thread_id>/regenerate"),
    ("POST", "/threads/<thread_id>/tip"),
    ("GET", "/threads/<thread_id>/messages"),
    ("POST", "/threads/<thread_id>/messages"),
    ("PATCH", "/messages/<message_id>"),
    ("DELETE", "/messages/<message_id>"),
    ("POST", "/messages/<message_id>/send_now"),
    ("POST", "/messages/<message_id>/feedback"),
    ("GET", "/runs/<run_id>/partial"),
    ("POST", "/runs/<run_id>/wait"),
]


def path_to(rule: str, id: str) -> str:
    return re.sub(r"<\w+>", id, rule)


@pytest.mark.parametrize("token", [None, "key_unknown", "\xe4"])
@pytest.mark.parametrize(("method", "rule"), [*GUARDED, ("GET", "/session")])
def test_who_is_not_signed_in_gets_a_json_401_and_no_redirect(
    server: Server, alice: Person, method: str, rule: str, token: str | None
) -> None:
    """P18: a redirect to a login page would end an EventSource without a reason."""
    body = b"{}" if method in ("POST", "PATCH") else None
    status, headers, content = server.raw(method, path_to(rule, alice.new_thread()), body, token)
    assert (status, headers["Content-Type"]) == (401, "application/json")
    assert "Location" not in headers
    assert json.loads(content)["error"]["code"] == "unauthorized"


def test_the_list_of_guarded_paths_is_complete(settings: Config) -> None:
    guarded = {"threads", "messages", "runs", "streams"}
    rules = [rule for rule in create_app(settings).url_map.iter_rules() if rule.endpoint.partition(".")[0] in guarded]
    known = {(method, path.partition("?")[0]) for method, path in GUARDED}
    assert len(rules) > 5
    assert {(method, rule.rule) for rule in rules for method in rule.methods - {"HEAD", "OPTIONS"}} == known


class Browser:
    """Somebody with a cookie instead of a key."""

    def __init__(self, server: Server, name: str, password: str) -> None:
        self._server = server
        status, headers, content = self.send("POST", "/login", json.dumps({"name": name, "password": password}))
        assert status == 200, content
        self.cookie = headers["Set-Cookie"].partition(";")[0]

    cookie = ""

    def send(
        self, method: str, path: str, body: str | None = None, site: str = "same-origin"
    ) -> tuple[int, dict[str, str], bytes]:
        connection = HTTPConnection("127.0.0.1", self._server.port, timeout=30)
        headers = {"Accept": "application/json", "Content-Type": "application/json", "Sec-Fetch-Site": site}
        connection.request(method, path, body, {**headers, "Cookie": self.cookie})
        response = connection.getresponse()
        answer = response.status, dict(response.headers), response.read()
        connection.close()
        return answer

    def reader(self) -> Reader:
        return Reader(self._server.url, headers={"Cookie": self.cookie})


@pytest.fixture
def browser(server: Server) -> Browser:
    return Browser(server, server.name, server.password)


def test_another_sites_page_gets_nowhere_with_a_persons_cookie(server: Server, browser: Browser) -> None:
    """P63."""
    for method, rule in GUARDED:
        path, body = path_to(rule, server.new_thread()), "{}" if method in ("POST", "PATCH") else None
        status, _, content = browser.send(method, path, body, site="cross-site")
        assert (status, json.loads(content)["error"]["code"]) == (403, "cross_site"), (method, rule)
    assert browser.send("GET", "/session")[0] == 200


def test_signing_out_ends_the_open_stream_and_its_cookie(server: Server, browser: Browser) -> None:
    """P26."""
    other = Browser(server, server.name, server.password)
    with browser.reader() as reader, other.reader() as kept:
        for each in (reader, kept):
            each.wait("ready")
        assert browser.send("POST", "/logout")[0] == 204
        assert reader.wait_for_end(REVOKED * SLACK) == "clean"
        assert (reader.events[-1].event, reader.events[-1].json["reason"]) == ("bye", "auth")
        assert not kept.end  # another session of the same person goes on
    with browser.reader() as again:
        assert again.status == 401
    assert browser.send("GET", "/session")[0] == 401
    assert other.send("GET", "/session")[0] == 200


def test_a_session_that_expires_ends_its_stream_and_is_refused_with_json(server: Server, browser: Browser) -> None:
    with browser.reader() as reader:
        reader.wait("ready")
        store_of(server).write(lambda s: s.execute(update(SignIn).values(expires_at=now_ms() - 1)))
        reader.wait("bye", seconds=REVOKED * SLACK)
        assert reader.events[-1].json["reason"] == "auth"
    for path in ("/stream", "/threads", "/session"):
        status, headers, content = browser.send("GET", path)
        assert (status, headers["Content-Type"]) == (401, "application/json")
        assert json.loads(content)["error"]["code"] == "unauthorized"


@pytest.mark.parametrize("with_broker", [True, False])
def test_a_disabled_user_hears_nothing_more(breakable: Server, with_broker: bool) -> None:
    """The command tells no worker; the tick finds out, broker or not."""
    victim = by_command(breakable, f"{uuid4().hex[:8]}@example.com", "demo")
    thread_id, pid = victim.new_thread(), breakable.broker()
    with victim.reader() as reader:
        reader.wait("ready")
        if not with_broker:
            os.kill(pid, signal.SIGSTOP)
        try:
            command(breakable, "disable-user", victim.name)
            reader.wait("bye", seconds=REVOKED * SLACK)
        finally:
            os.kill(pid, signal.SIGCONT)
        breakable.reply(thread_id, "not for you", f"{thread_id} secret")
        assert reader.wait_for_end() == "clean"
        assert reader.events[-1].json["reason"] == "auth"
        assert texts(reader.events) == []
    assert victim.call("GET", "/threads")[0] == 401


# What cannot be continued


@pytest.mark.parametrize(
    ("cursor", "reason"),
    [("nonsense", "malformed"), ("deadbeef.1", "epoch"), ("{}.999", "future"), ("%00", "malformed")],
)
def test_a_cursor_that_cannot_be_continued_is_reset_in_the_stream(
    server: Server, alice: Person, cursor: str, reason: str
) -> None:
    thread_id = alice.new_thread()
    with alice.reader(f"/stream?last_event_id={cursor.format(alice.cursor.partition('.')[0])}") as reader:
        [reset] = reader.wait("reset")
        assert reset.json == {"reason": reason, "head": alice.cursor}
        server.reply(thread_id, "and on", f"{thread_id} on")
        reader.wait_for_text("and on")
        assert len(named(reader.events, "reset")) == 1


def test_a_stream_of_which_only_the_head_is_asked_for_is_not_counted(server: Server, alice: Person) -> None:
    before = metric(server, "streams_opened_total")
    status, headers, body = server.raw("HEAD", "/stream", token=alice.token)
    assert (status, headers["Content-Type"], body) == (200, "text/event-stream; charset=utf-8", b"")
    assert metric(server, "streams_opened_total") == before


def test_a_stream_says_how_it_wants_to_be_treated_on_its_way(server: Server, alice: Person) -> None:
    """P23, P25."""
    with alice.reader() as reader:
        reader.wait("ready")
        assert reader.headers["Content-Type"].startswith("text/event-stream")
        assert reader.headers["Cache-Control"] == "no-cache, no-store, no-transform"
        assert reader.headers["X-Accel-Buffering"] == "no"
        assert "Access-Control-Allow-Origin" not in reader.headers
        assert "Set-Cookie" not in reader.headers
