"""While PostgreSQL is away every door says so in time: R10, as `test_away.py` has it for SQLite."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from flask import Flask
from werkzeug.test import TestResponse

from app import create_app
from chat.store import Store
from config import Config
from tests import sse
from tests.acts import open_thread
from tests.postgres import cluster, database_of
from tests.site import KEY, Site

REFUSED = 3.0  # seconds
HEALTH = 0.5
SLACK = 1.5
TABLES = "users, messages, participants, alembic_version"


@pytest.fixture
def store(postgresql_store: Store) -> Store:
    return postgresql_store


@pytest.fixture
def thread(site: Site) -> str:
    return open_thread(site.store, site.people.alice)


@pytest.fixture
def url(site: Site, thread: str) -> str:
    """A copy of the site's database."""
    return cluster().copy(site.store.url)


@pytest.fixture
def app(url: str, tmp_path: Path) -> Iterator[Flask]:
    """Another worker of the site, on that copy."""
    settings = {"DATA_DIR": str(tmp_path), "REDIS_URL": "redis://127.0.0.1:1", "SECRET_KEY": KEY}
    app = create_app(Config(DATABASE_URL=url, DATABASE_POOL=2, **settings))
    yield app
    app.extensions["store"].close()


@pytest.fixture(params=["gone", "held", "nowhere"])
def away(request: pytest.FixtureRequest, app: Flask, url: str) -> Iterator[None]:
    """The database is dropped, or held by somebody who lets nobody in, or its tables are being restored."""
    if request.param == "held":
        with closing(psycopg.connect(url)) as connection:
            connection.execute(f"LOCK TABLE {TABLES}")
            yield
        return
    cluster().cut(url)
    cluster().run(f"DROP DATABASE {database_of(url)}")
    if request.param == "nowhere":
        cluster().run(f"CREATE DATABASE {database_of(url)} TEMPLATE template0")
    yield


def call(app: Flask, site: Site, method: str, path: str, **more: Any) -> tuple[TestResponse, float]:
    """Alice calls with her key; returns also how many seconds it took."""
    began = time.monotonic()
    headers = {"Authorization": f"Bearer {site.keys['alice']}"} | more.pop("headers", {})
    answer = app.test_client().open(path, method=method, headers=headers, **more)
    return answer, time.monotonic() - began


@pytest.mark.usefixtures("away")
def test_every_door_says_in_time_when_to_come_back(app: Flask, site: Site, thread: str) -> None:
    said = json.dumps({"thread_id": thread, "message": {"text": "Hello!"}})
    as_agent = {"Authorization": f"Bearer {site.people.agent_token}", "Idempotency-Key": "k1"}
    doors: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "/session", {}),
        ("GET", f"/threads/{thread}/messages", {}),
        ("POST", f"/threads/{thread}/messages", {"json": {"text": "x"}}),
        ("POST", "/webhook/chat-response", {"data": said, "headers": as_agent}),
        ("GET", "/", {"headers": {"Accept": "text/html"}}),
    ]
    for method, path, more in doors:
        answer, seconds = call(app, site, method, path, **more)
        assert (answer.status_code, "Retry-After" in answer.headers) == (503, True), path
        assert seconds < REFUSED + SLACK
    answer, seconds = call(app, site, "GET", "/stream", headers={"Last-Event-ID": "e1.7"})
    [bye] = sse.parse(answer.data)
    assert (answer.status_code, bye.event, bye.json["reason"], bye.id) == (200, "bye", "limit", "e1.7")
    assert seconds < REFUSED + SLACK


def test_health_answers_in_half_a_second_whatever_the_store_does(app: Flask, site: Site, url: str) -> None:
    assert call(app, site, "GET", "/health/ready")[0].json["store"] == "ok"
    cluster().send(signal.SIGSTOP)
    try:
        answer, seconds = call(app, site, "GET", "/health/ready")
        assert (answer.status_code, answer.json["store"]) == (503, "away")
        assert seconds < HEALTH + SLACK / 2
        assert call(app, site, "GET", "/health/live")[0].status_code == 200
    finally:
        cluster().send(signal.SIGCONT)
