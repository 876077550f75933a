"""People and agents of a running server, made by its own commands or straight in its database."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from chat import accounts
from chat.store import Store
from tests.live.reader import Follower, Reader
from tests.server import ROOT, Server


@dataclass
class Person:
    """A user of the server, known by an API key."""

    server: Server
    name: str
    token: str

    def call(self, method: str, path: str, body: object = None, **more: Any) -> tuple[int, Any]:
        return self.server.call(method, path, body, self.token, **more)

    def new_thread(self, agent: str = "echo") -> str:
        status, thread = self.call("POST", "/threads", {"agent": agent})
        assert status == 201, thread
        return str(thread["id"])

    def say(self, thread_id: str, text: str, **more: object) -> dict[str, Any]:
        status, message = self.call("POST", f"/threads/{thread_id}/messages", {"text": text, **more})
        assert status == 201, message
        return message  # type: ignore[no-any-return]

    def history(self, thread_id: str) -> list[dict[str, Any]]:
        """All messages of a thread, oldest first."""
        items: list[dict[str, Any]] = []
        after: int | None = 0
        while after is not None:
            status, page = self.call("GET", f"/threads/{thread_id}/messages?after={after}&limit=200")
            assert status == 200, page
            items += page["items"]
            after = page["next"]
        return items

    def reader(self, path: str = "/stream", cursor: str = "") -> Reader:
        return Reader(self.server.url, path, self.token, cursor)

    def follower(self, path: str = "/stream", cursor: str = "", **more: Any) -> Follower:
        return Follower(self.server.url, path, self.token, cursor, **more)

    @property
    def cursor(self) -> str:
        """Where this person's log stands."""
        return str(self.call("GET", "/threads")[1]["cursor"])


def store_of(server: Server) -> Store:
    """The server's own database, opened beside it."""
    return Store(server.database_url)


def newcomer(server: Server, role: str = "member", tenant: str = "demo") -> Person:
    """Somebody with a log of their own, which nobody else writes to."""
    name = f"{uuid4().hex[:12]}@example.com"

    def make(session: Any) -> str:
        user = accounts.add_user(session, accounts.add_tenant(session, tenant), name, "no password", role)
        return accounts.add_key(session, user, "test")

    return Person(server, name, store_of(server).write(make))


def command(server: Server, *words: str, **settings: str) -> str:
    """Run `flask --app app accounts …` as an operator of this server would; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "app", "accounts", *words],
        cwd=ROOT, env={**server.environ, **settings},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def by_command(server: Server, name: str, tenant: str, role: str = "member") -> Person:
    """A user and a key, made at the terminal. The password is "password of " and the name."""
    command(server, "add-user", name, "--tenant", tenant, "--role", role, "--password", f"password of {name}")
    return Person(server, name, command(server, "add-key", name))


def agent_by_command(server: Server, name: str, tenant: str, url: str = "http://127.0.0.1:9/") -> dict[str, str]:
    """An agent: {agent_id, agent_token, webhook_secret}."""
    lines = command(server, "add-agent", name, url, "--tenant", tenant).splitlines()
    return dict(line.split() for line in lines)  # type: ignore[misc]
