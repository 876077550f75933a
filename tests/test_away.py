"""While SQLite is away nobody sees a traceback: a person a page, a program when to try again, a stream a `bye`."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from app import create_app
from chat.store import Store
from config import Config
from tests import sse
from tests.acts import open_thread, texts
from tests.site import KEY, Site

PAGE = {"Accept": "text/html,application/xhtml+xml"}


@pytest.fixture
def store(sqlite_store: Store) -> Store:
    return sqlite_store


@pytest.fixture
def thread(site: Site) -> str:
    return open_thread(site.store, site.people.alice)


@pytest.fixture
def database(site: Site, thread: str, tmp_path: Path) -> Path:
    """A copy of the site's database, which nobody has opened yet."""
    path = tmp_path / "away.db"
    with closing(sqlite3.connect(site.store.url.removeprefix("sqlite:///"))) as connection:
        connection.execute("VACUUM INTO ?", [str(path)])
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode=WAL").fetchone() == ("wal",)
    return path


@pytest.fixture
def app(database: Path, tmp_path: Path) -> Flask:
    """Another worker of the site, just started, on that copy."""
    url = f"sqlite:///{database}"
    return create_app(Config(DATA_DIR=str(tmp_path), DATABASE_URL=url, REDIS_URL="redis://127.0.0.1:1", SECRET_KEY=KEY))


def holding(database: Path, lock: str) -> sqlite3.Connection:
    """Someone who holds the database: BEGIN EXCLUSIVE keeps readers out, too, BEGIN IMMEDIATE only writers."""
    connection = sqlite3.connect(database, isolation_level=None)
    if lock == "EXCLUSIVE":
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")  # in WAL mode nothing less keeps readers out
    connection.execute(f"BEGIN {lock}")
    return connection


@pytest.fixture(params=["gone", "held"])
def away(request: pytest.FixtureRequest, database: Path) -> Iterator[None]:
    """The database is not there any more, or held by another program that lets nobody in."""
    if request.param == "gone":
        database.unlink()
        database.mkdir()
        yield
    else:
        with closing(holding(database, "EXCLUSIVE")):
            yield


def call(app: Flask, site: Site, method: str, path: str, **more: Any) -> TestResponse:
    """Alice calls with her key."""
    headers = {"Authorization": f"Bearer {site.keys['alice']}"} | more.pop("headers", {})
    return app.test_client().open(path, method=method, headers=headers, **more)


@pytest.mark.usefixtures("away")
@pytest.mark.parametrize(("path", "status"), [("/", 503), ("/chat/t1", 503), ("/nowhere", 404)])
def test_a_person_sees_a_page_that_says_so(app: Flask, site: Site, path: str, status: int) -> None:
    """The page that tells of it must not ask the store who is signed in."""
    browser = app.test_client()
    browser.set_cookie("backchannel", site.signed_in().get_cookie("backchannel").value)
    for answer in (browser.get(path, headers=PAGE), call(app, site, "GET", path, headers=PAGE)):
        assert (answer.status_code, answer.mimetype) == (status, "text/html")
        assert "<h1" in answer.text
        assert ("Retry-After" in answer.headers) == (status == 503)


@pytest.mark.usefixtures("away")
@pytest.mark.parametrize("path", ["/stream", "/threads/t1/events"])
@pytest.mark.parametrize("cursor", ["e1.7", None, "nonsense"])
def test_a_stream_is_told_when_to_come_back_and_keeps_its_cursor(
    app: Flask, site: Site, path: str, cursor: str | None
) -> None:
    """Any error status would end an EventSource for good; already the guard meets the store."""
    by_header = {"Last-Event-ID": cursor} if cursor else {}
    by_query = {"last_event_id": cursor} if cursor else {}
    for more in ({"headers": by_header}, {"query_string": by_query}):
        answer = call(app, site, "GET", path, **more)
        assert (answer.status_code, answer.mimetype) == (200, "text/event-stream")
        [bye] = sse.parse(answer.data)
        assert (bye.event, bye.json["reason"]) == ("bye", "limit")
        assert bye.id == ("e1.7" if cursor == "e1.7" else "")
        assert bye.retry == bye.json["retry_ms"] >= 1000


@pytest.mark.usefixtures("away")
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/session"), ("GET", "/threads"), ("GET", "/threads/t1/messages"), ("POST", "/threads")],
)
def test_a_program_is_told_that_nothing_was_changed_and_when_to_try_again(
    app: Flask, site: Site, method: str, path: str
) -> None:
    expect_503(call(app, site, method, path, json={"agent": "echo"}))


def expect_503(answer: TestResponse) -> None:
    assert (answer.status_code, answer.mimetype) == (503, "application/json")
    assert answer.json["error"]["code"] == "unavailable"
    assert int(answer.headers["Retry-After"]) >= 1


def agent_calls(app: Flask, site: Site, thread: str) -> TestResponse:
    headers = {"Authorization": f"Bearer {site.people.agent_token}", "Idempotency-Key": "k1"}
    said = json.dumps({"thread_id": thread, "message": {"text": "Hello!"}})
    return app.test_client().post("/webhook/chat-response", data=said, headers=headers)


@pytest.mark.usefixtures("away")
def test_an_agent_is_told_to_send_it_again(app: Flask, site: Site, thread: str) -> None:
    expect_503(agent_calls(app, site, thread))


def test_what_cannot_commit_is_not_said_to_be_taken(app: Flask, site: Site, database: Path, thread: str) -> None:
    """Reading goes on meanwhile, and who tries again is heard."""
    say = {"json": {"text": "Hello?", "client_id": "c1"}}
    with closing(holding(database, "IMMEDIATE")):
        assert call(app, site, "GET", f"/threads/{thread}/messages").json["items"] == []
        expect_503(call(app, site, "POST", f"/threads/{thread}/messages", **say))
        expect_503(agent_calls(app, site, thread))
    assert call(app, site, "POST", f"/threads/{thread}/messages", **say).status_code == 201
    assert agent_calls(app, site, thread).status_code == 200
    said = call(app, site, "GET", f"/threads/{thread}/messages").json["items"]
    assert [message["text"] for message in said] == ["Hello?", "Hello!"]
    assert texts(site.store, site.people.alice, thread) == [], "this is the copy"


@pytest.mark.usefixtures("away")
def test_health_says_what_is_away_and_that_the_worker_lives(app: Flask) -> None:
    browser = app.test_client()
    ready = browser.get("/health/ready")
    assert (ready.status_code, ready.json["store"]) == (503, "away")
    assert browser.get("/health/live").status_code == 200


@pytest.mark.usefixtures("away")
def test_the_loop_does_not_stand_still_for_it(app: Flask, site: Site) -> None:
    """Not even while a worker is new, and opens the file at every look."""
    begun = time.monotonic()
    for _ in range(3):
        assert call(app, site, "GET", "/session").status_code == 503
    assert time.monotonic() - begun < 3 * 0.5
