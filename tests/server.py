"""A real Backchannel on a free port: gunicorn, Valkey, the database and the demo agent, as `bin/run` starts them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy.orm import Session

from chat import log
from chat.models import LogEntry, Message
from chat.native import message_json
from chat.store import Store
from prepare import migrate
from tests import postgres
from tests.mutants import wanted
from tests.ports import free_port
from tests.until import until

ROOT = Path(__file__).resolve().parent.parent
STARTING = 60.0  # seconds, on machines that have other things to do


class Server:
    """Started by `start`; `stop` at the end. Settings by name, as in the environment.

    `database` is "sqlite" or "postgresql": a new one, whose tables are there already. Making them takes longer than all
    else at a start; tests/test_prepare.py and tests/live/test_operator.py begin with none.
    """

    def __init__(self, data_dir: Path, database: str = "sqlite", **settings: object) -> None:
        self.data_dir = data_dir
        self.database_url = postgres.cluster().new() if database == "postgresql" else sqlite_url(data_dir)
        self.port = free_port()
        self.url = f"http://{settings.get('HOST', '127.0.0.1')}:{self.port}"
        self.log_path = data_dir / "server.log"
        self._settings = {name: str(value) for name, value in settings.items()}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Server:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        if self.environ["DATABASE_URL"] == sqlite_url(self.data_dir) and not self.database_path.exists():
            self.database_path.write_bytes(empty_sqlite())
        run_by = "tests/mutant.conf.py" if wanted(self.environ) else "gunicorn.conf.py"
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "-c", run_by],
                cwd=ROOT, env=self.environ, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        until(self.is_ready, STARTING)
        return self

    @property
    def environ(self) -> dict[str, str]:
        """What the server is started with, and its commands."""
        return {
            **os.environ,
            "PORT": str(self.port),
            "DATA_DIR": str(self.data_dir),
            "DATABASE_URL": self.database_url,
            "DEMO": "1",
            "AGENT_RETRY_SECONDS": "0.2,0.4",
            "STREAMS_PER_USER": "0",
            "ANSWERS_PER_MINUTE": "0",
            **self._settings,
        }

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End the server and everything it started. SIGKILL leaves it no last word."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(30)
        self._process = None

    def kill(self) -> None:
        """End one that has no services of its own at once, for good."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait(30)

    def is_ready(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise AssertionError(f"the server ended:\n{self.log()}")
        try:
            return self.call("GET", "/health/ready", token=None)[1].get("broker") == "ok"
        except OSError:
            return False

    @property
    def database_path(self) -> Path:
        return self.data_dir / "backchannel.db"

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    # Processes, to be broken

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def workers(self) -> list[int]:
        """The workers' process ids: the master's children that run gunicorn."""
        return [pid for pid in children(self.pid) if b"gunicorn" in command_line(pid)]

    def broker(self) -> int:
        """The broker's process id."""
        found = [
            pid
            for supervisor in children(self.pid)
            for pid in children(supervisor)
            if b"valkey-server" in command_line(pid) or b"redis-server" in command_line(pid)
        ]
        assert found, "no broker runs"
        return found[0]

    # What the demo's people and agent know

    @property
    def demo(self) -> dict[str, str]:
        return json.loads((self.data_dir / "demo.json").read_text())  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> str:
        if name in ("tenant", "user", "password", "token", "agent", "agent_token", "webhook_secret"):
            return self.demo[name]
        raise AttributeError(name)

    @property
    def name(self) -> str:
        return self.demo["user"]

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        token: str | None = "",
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Make one request as the demo user, by another bearer token, or by none (None); return status and JSON."""
        status, _, content = self.raw(method, path, body, token, headers)
        return status, json.loads(content) if content else None

    def raw(
        self,
        method: str,
        path: str,
        body: object = None,
        token: str | None = "",
        headers: dict[str, str] | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """As `call`, with the answer's headers and its raw body; `body` as bytes is sent as it is."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token or self.token}"
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, sent, method=method)
        try:
            with OPENER.open(request, timeout=30) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read()

    def new_thread(self) -> str:
        status, thread = self.call("POST", "/threads", {"agent": self.agent})
        assert status == 201, thread
        return str(thread["id"])

    def say(self, thread_id: str, text: str, **more: object) -> dict[str, Any]:
        status, message = self.call("POST", f"/threads/{thread_id}/messages", {"text": text, **more})
        assert status == 201, message
        return message  # type: ignore[no-any-return]

    def reply(self, thread_id: str, text: str, key: str, **more: object) -> tuple[int, Any]:
        """Post to the webhook as the demo agent, by its bearer token."""
        said = {"thread_id": thread_id, "message": {"text": text}, **more}
        return self.call("POST", "/webhook/chat-response", said, self.agent_token, {"Idempotency-Key": key})

    def history(self, thread_id: str) -> list[dict[str, Any]]:
        """All messages of a thread, oldest first, page by page."""
        items: list[dict[str, Any]] = []
        after: int | None = 0
        while after is not None:
            status, page = self.call("GET", f"/threads/{thread_id}/messages?after={after}&limit=200")
            assert status == 200, page
            items += page["items"]
            after = page["next"]
        return items

    def edit(self, message_id: str, text: str) -> None:
        """Change a message as another process would, one that rings nobody: open pages learn of it by the tick."""

        def change(session: Session) -> None:
            message = session.get_one(Message, message_id)
            place = log.take(session, message.participant_id)
            message.text, message.rev = text, place.seq
            entry = LogEntry(kind="message", change="updated", thread_id=message.thread_id, subject_id=message.id)
            log.append(session, message.participant_id, place, entry, message_json(message))

        Store(self.database_url).write(change)


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer to look at."""

    def redirect_request(self, *_: object) -> None:
        return None


OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirect)


def sqlite_url(data_dir: Path) -> str:
    return f"sqlite:///{data_dir / 'backchannel.db'}"


@cache
def empty_sqlite() -> bytes:
    """A file with all tables and nothing in them."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "empty.db")
        migrate(f"sqlite:///{path}")
        return path.read_bytes()


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
