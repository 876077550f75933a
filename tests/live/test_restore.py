"""A restore: what pages have seen is gone, so no stream is silently continued (R29). By the commands of docs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg
import pytest

from tests.live.people import Person, newcomer
from tests.live.reader import Reader, named, texts
from tests.postgres import cluster, database_of, program
from tests.server import ROOT, Server

READERS = 4
BY_TICK = 15.0  # seconds: a tick, on a busy machine
TITLES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


@pytest.fixture(params=["sqlite", "postgresql"])
def breaking(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "server", request.param, DRAIN_SECONDS=1)
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def alice(breaking: Server) -> Person:
    return newcomer(breaking)


def kind_of(server: Server) -> str:
    return server.database_url.partition(":")[0]


def documented(server: Server, action: str) -> str:
    """The commands of docs/restore.md, for this server's own places."""
    chapter = re.split(r"^## ", (ROOT / "docs" / "restore.md").read_text(), flags=re.MULTILINE)
    [ours] = [text for text in chapter if text.startswith(TITLES[kind_of(server)])]
    found = re.search(rf"^### {action}\n.*?```sh\n(.*?)```", ours, re.DOTALL | re.MULTILINE)
    assert found
    places = {
        "backup.": f"{server.data_dir}/backup.",
        ".venv/bin/python": sys.executable,
        ".venv/bin/flask": f"{sys.executable} -m flask",
    }
    return re.sub("|".join(map(re.escape, places)), lambda place: places[place[0]], found[1])


def run(server: Server, commands: str) -> None:
    path = f"{Path(program('pg_dump')).parent}:{os.environ['PATH']}"
    environ = {**server.environ, "PATH": path}
    done = subprocess.run(["sh", "-ec", commands], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def talk(person: Person, thread: str, *words: str) -> None:
    for word in words:
        status, _ = person.server.reply(thread, word, f"{thread} {word}")
        assert status == 200


def open_pages(stack: ExitStack, person: Person, cursor: str) -> list[Reader]:
    return [stack.enter_context(person.reader(cursor=cursor)) for _ in range(READERS)]


def test_after_a_restore_every_page_that_comes_back_is_told_to_begin_anew(breaking: Server, alice: Person) -> None:
    thread = alice.new_thread()
    beginning = alice.cursor
    with ExitStack() as stack:
        readers = open_pages(stack, alice, beginning)
        talk(alice, thread, "one", "two")
        readers[0].wait_for_text("two")
        at_backup = readers[0].cursor
        run(breaking, documented(breaking, "Back up"))
        talk(alice, thread, "three", "four")
        for reader in readers:
            reader.wait_for_text("four")
    breaking.stop()
    run(breaking, documented(breaking, "Restore"))
    breaking.start()
    cursors = [beginning, at_backup, *(reader.cursor for reader in readers)]
    with ExitStack() as stack:
        back = [stack.enter_context(alice.reader(cursor=cursor)) for cursor in cursors]
        for reader in back:
            reader.wait("reset")
        assert [message["text"] for message in alice.history(thread)] == ["one", "two"]
        talk(alice, thread, "five", "six", "seven")
        for reader in back:
            reader.wait_for_text("seven")
            assert texts(reader.events) == ["five", "six", "seven"], "nothing of what was before is told again"
            assert len(named(reader.events, "reset")) == 1
    assert (breaking.data_dir / "secret_key").exists()


def test_a_restore_below_a_running_server_reaches_the_open_pages(breaking: Server, alice: Person) -> None:
    thread = alice.new_thread()
    with ExitStack() as stack:
        readers = open_pages(stack, alice, alice.cursor)
        talk(alice, thread, "one")
        run(breaking, documented(breaking, "Back up"))
        talk(alice, thread, "two", "three")
        for reader in readers:
            reader.wait_for_text("three")
        replace(breaking)
        for reader in readers:  # the head went back: seen without being told
            [reset] = reader.wait("reset", seconds=BY_TICK)
            assert reset.json["reason"] == "rewound"
        talk(alice, thread, "other two", "other three", "other four")  # further than they ever were
        run(breaking, f"{sys.executable} -m flask --app app log rotate-epoch")
        for reader in readers:
            _, reset = reader.wait("reset", count=2, seconds=BY_TICK)
            assert reset.json["reason"] == "epoch"
            assert not reader.end, "the stream goes on"
        talk(alice, thread, "the end")
        for reader in readers:
            reader.wait_for_text("the end")
    assert [message["text"] for message in alice.history(thread)] == [
        *("one", "other two", "other three", "other four", "the end"),
    ]


def replace(server: Server) -> None:
    """Put the backup in place of the database that the server has open."""
    if kind_of(server) == "sqlite":
        code = "import sqlite3; sqlite3.connect('{0}/backup.db').backup(sqlite3.connect('{0}/backchannel.db'))"
        run(server, f'{sys.executable} -c "{code.format(server.data_dir)}"')
        return
    name = database_of(server.database_url)
    cluster().run(f"DROP DATABASE {name} WITH (FORCE)")
    cluster().run(f"CREATE DATABASE {name} TEMPLATE template0")
    run(server, f'pg_restore --single-transaction --dbname="$DATABASE_URL" {server.data_dir}/backup.dump')
    with closing(psycopg.connect(server.database_url)) as connection:
        assert connection.execute("SELECT count(*) FROM participants").fetchone()
