"""What the operator meets: a start that cannot be, an end by Ctrl-C, a part that was killed, a log for machines."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.kills import is_back, kill_a_worker
from tests.live.people import newcomer
from tests.server import ROOT, Server, children, command_line, free_port
from tests.until import until

CANARY = "canary-in-the-coal-mine"


def start(data_dir: Path, **settings: object) -> subprocess.CompletedProcess[str]:
    """A start that ends by itself."""
    environ = {**os.environ, "PORT": str(free_port()), "DATA_DIR": str(data_dir), "DEMO": "1"}
    environ |= {name: str(value) for name, value in settings.items()}
    command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py"]
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("name", "value"),
    [("WORKERS", 0), ("PORT", "abc"), ("PUBLIC_URL", "chat.example.com"), ("LOG_FORMAT", "x"), ("SESSION_DAYS", -1)],
)
def test_a_setting_that_cannot_be_used_ends_the_start_with_one_line(tmp_path: Path, name: str, value: object) -> None:
    done = start(tmp_path / "var", **{name: value})
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith(f"{name} must be ")
    assert line.endswith(f", not '{value}'")
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == [], "something was made already"


def test_so_does_a_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flask", "--app", "app", "accounts", "list"]
    environ = {**os.environ, "DATA_DIR": str(tmp_path), "WORKERS": "none"}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, "WORKERS must be a number, not 'none'\n")


def test_a_data_folder_that_cannot_be_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("no folder")
    done = start(tmp_path / "var")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("DATA_DIR must be a folder that can be written, not ")
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_told_before_anything_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = start(tmp_path / "var", PORT=port)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"cannot listen on 127.0.0.1:{port}: Address already in use")
    assert "sign in as" not in done.stdout
    assert not (tmp_path / "var" / "broker.log").exists()
    assert "Traceback" not in done.stderr


def test_ctrl_c_ends_the_server_without_a_word_too_many(own_server: Server) -> None:
    """The terminal tells the master and its workers alike; the services live in sessions of their own."""
    workers, supervisors = own_server.workers(), set(children(own_server.pid)) - set(own_server.workers())
    assert len(workers) == 2
    os.killpg(own_server.pid, signal.SIGINT)
    assert own_server._process is not None
    assert own_server._process.wait(30) == 0
    until(lambda: not any(command_line(pid) for pid in (*workers, *supervisors)))
    assert "Shutting down" in own_server.log()
    assert "Traceback" not in own_server.log()
    assert "SystemExit" not in own_server.log()


def supervisor_of(server: Server, name: str) -> int:
    found = [pid for pid in children(server.pid) if f"\0{name}\0".encode() in command_line(pid)]
    assert len(found) == 1, f"no supervisor of {name} runs"
    return found[0]


@pytest.mark.parametrize("name", ["broker", "demo"])
def test_a_supervisor_that_is_killed_is_started_again(breakable: Server, name: str) -> None:
    alice = newcomer(breakable)
    thread_id, broker, before = alice.new_thread(), breakable.broker(), len(breakable.log())
    victim = supervisor_of(breakable, name)
    os.kill(victim, signal.SIGKILL)
    until(lambda: not command_line(victim))
    until(lambda: f"{name} had gone and was started again" in breakable.log()[before:], 30)
    assert supervisor_of(breakable, name) != victim
    if name == "broker":
        until(lambda: is_back(breakable, broker), 30)
        until(breakable.is_ready, 30)
    with alice.reader() as reader:
        reader.wait("ready")
        alice.say(thread_id, "Is anybody there?")
        reader.wait_for_text("You said: Is anybody there?")


@pytest.fixture
def json_server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "server", LOG_FORMAT="json", DRAIN_SECONDS=1)
    server.database_url = f"sqlite:///{tmp_path / 'from-nothing.db'}"
    try:
        yield server.start()
    finally:
        server.stop()


def send_raw(server: Server, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return connection.recv(4096)


MALFORMED = [
    f"GET /?{CANARY}\r\n\r\n",
    f"GET / HTTP/1.1\r\nAuthorization Bearer {CANARY}\r\n\r\n",
    f"GET / HTTP/1.1\r\nAuthorization: Bearer {CANARY}\x00\r\n\r\n",
    f"{CANARY} / HTTP/1.1\r\n\r\n",
    f"GET / {CANARY}\r\n\r\n",
    f"POST /login HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{CANARY}\r\n",
    f"POST /login HTTP/1.1\r\nTransfer-Encoding: {CANARY}\r\n\r\n",
    f"GET /nowhere/{CANARY}%0d%0aforged%1b%5b2J?{CANARY} HTTP/1.1\r\nHost: {CANARY}\r\nX-Request-ID: {CANARY}!\r\n\r\n",
]


def test_every_line_of_a_json_log_is_a_record_whatever_happens(json_server: Server) -> None:
    alice = newcomer(json_server)
    thread_id = alice.new_thread()
    with alice.reader() as reader:
        reader.wait("ready")
        alice.say(thread_id, CANARY)
        reader.wait_for_text(f"You said: {CANARY}")
    for said in MALFORMED:
        assert send_raw(json_server, said.encode()).split()[1] in (b"400", b"404", b"501")
    alice.call("POST", f"/threads/{thread_id}/messages", {"text": CANARY * 5000})
    json_server.call("POST", "/login", {"name": CANARY, "password": CANARY}, None)
    os.kill(json_server.broker(), signal.SIGKILL)
    kill_a_worker(json_server)
    os.kill(supervisor_of(json_server, "broker"), signal.SIGKILL)
    until(lambda: "had gone and was started again" in json_server.log(), 30)
    until(json_server.is_ready, 30)
    json_server.stop()
    log = json_server.log()
    records = [json.loads(line) for line in log.splitlines()]
    assert all({"time", "level", "logger", "message", "pid"} <= record.keys() for record in records)
    assert {"gunicorn.error", "supervisor", "realtime.listener", "blueprints.access"} <= {r["logger"] for r in records}
    webhooks = [record for record in records if record.get("route") == "/webhook/events"]
    assert webhooks
    assert all(len(record["request"]) == 16 and record["agent"] and record["thread"] for record in webhooks)
    assert CANARY not in log
    assert json_server.password not in log
    assert not {*map(chr, range(32)), "\x7f"} & set(log.replace("\n", ""))


def test_at_a_hup_the_old_workers_stay_until_the_new_ones_serve(breakable: Server) -> None:
    """Else webhooks would wait for as long as a worker takes to load."""
    old, before = breakable.workers(), len(breakable.log())
    os.kill(breakable.pid, signal.SIGHUP)
    until(lambda: not set(old) & set(breakable.workers()) and len(breakable.workers()) == 2, 60)
    lines = breakable.log()[before:].splitlines()
    leaving = next(n for n, line in enumerate(lines) if "Worker exiting" in line)
    assert sum("hearing the broker" in line for line in lines[:leaving]) == 2
