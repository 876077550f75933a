"""The supervisor and the embedded broker, with the real Valkey: there when needed, gone with the server."""

import contextlib
import fcntl
import os
import posix
import shlex
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

import services
from realtime import broker
from tests.until import until

ROOT = Path(__file__).parent.parent

# A server in short: it starts the broker and one more service, says so, and waits for its end.
SERVER = """
import os, select, sys
from pathlib import Path
import services

data_dir = Path(sys.argv[1])
print(services.start_broker(data_dir), flush=True)
services.start("sleeper", [sys.executable, "-c", "import time; time.sleep(600)"], data_dir)
print(services._services["broker"].pid, services._services["sleeper"].pid, flush=True)
while not select.select([0], [], [], 0.1)[0]:
    services.mend()
services.stop()
"""
GEVENT = "import gevent.monkey; gevent.monkey.patch_all()\n"


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    try:
        yield services.start_broker(tmp_path)
    finally:
        services.stop()


@pytest.fixture(params=["", GEVENT], ids=["plain", "gevent"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator["StandIn"]:
    server = StandIn(request.param, tmp_path)
    with server.process:
        try:
            yield server
        finally:
            server.process.kill()


class StandIn:
    """A process of its own that holds services, and what it started."""

    def __init__(self, patch: str, data_dir: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", patch + SERVER, str(data_dir)],
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout
        self.data_dir = data_dir
        self.url = self.process.stdout.readline().strip()
        self.supervisors = [int(pid) for pid in self.process.stdout.readline().split()]
        self.broker = broker_pid(self.url)

    @property
    def everything(self) -> list[int]:
        return [*self.supervisors, self.broker]

    def nothing_left(self) -> bool:
        locks = [self.data_dir / "broker.lock", self.data_dir / "sleeper.lock"]
        return not any(map(alive, self.everything)) and all(map(is_free, locks))


def client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url)


def broker_pid(url: str) -> int:
    with client(url) as connection:
        return int(connection.info("server")["process_id"])


def alive(pid: int) -> bool:
    """Tell whether it runs; a dead process that nobody has asked about yet does not."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def is_free(lock: Path) -> bool:
    with lock.open() as file, contextlib.suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def answers(url: str) -> bool:
    with contextlib.suppress(redis.ConnectionError), client(url) as connection:
        return bool(connection.ping())
    return False


def open_files() -> set[int]:
    """The inodes of all that this process has open."""
    inodes = set()
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            inodes.add(os.fstat(int(fd)).st_ino)
    return inodes


def listening_ports(pid: int) -> list[str]:
    """The TCP sockets that the process itself listens on (state 0A), by /proc."""
    inodes = {os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink()}
    rows = [
        row.split()
        for table in ("tcp", "tcp6")
        for row in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
    ]
    return [row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes]


def test_the_broker_answers_when_it_has_started(url: str, tmp_path: Path) -> None:
    assert url == f"unix://{tmp_path}/broker.sock"
    with client(url) as connection:
        assert connection.config_get("appendonly") == {"appendonly": "yes"}
        assert connection.config_get("appendfsync") == {"appendfsync": "everysec"}
        assert connection.config_get("save") == {"save": ""}
        assert connection.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_the_broker_opens_no_tcp_port(url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)):
        assert listening_ports(os.getpid())  # the table is read rightly
    assert listening_ports(broker_pid(url)) == []


def test_nobody_else_can_reach_the_broker_or_read_its_data(url: str, tmp_path: Path) -> None:
    with client(url) as connection:
        connection.set("a", 1)
    files = list(tmp_path.rglob("*"))
    assert tmp_path / "broker.sock" in files
    assert len(files) > 4
    assert not any(stat.S_IMODE(file.lstat().st_mode) & 0o077 for file in files)


def test_a_second_start_gives_the_running_broker(url: str, tmp_path: Path) -> None:
    pid = broker_pid(url)
    assert services.start_broker(tmp_path) == url
    assert broker_pid(url) == pid


def test_a_killed_broker_comes_back_with_its_data(url: str) -> None:
    with client(url) as connection:
        connection.set("kept", "yes")
    old = broker_pid(url)
    os.kill(old, signal.SIGKILL)
    until(lambda: not alive(old) and answers(url))
    with client(url) as connection:
        assert connection.get("kept") == b"yes"


def test_data_survives_a_restart_of_the_server(tmp_path: Path) -> None:
    for _ in range(3):
        with client(services.start_broker(tmp_path)) as connection:
            count = connection.incr("starts")
        services.stop()
    assert count == 3


def test_stop_ends_everything_cleanly_and_the_broker_last(server: StandIn) -> None:
    server.process.communicate("\n", timeout=20)
    assert server.process.returncode == 0
    assert server.nothing_left()
    assert "ready to exit" in (server.data_dir / "broker.log").read_text()


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT], ids=lambda n: n.name
)
def test_nothing_outlives_the_server(server: StandIn, number: int) -> None:
    server.process.send_signal(number)
    until(server.nothing_left)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda n: n.name)
def test_nothing_outlives_the_supervisor(server: StandIn, number: int) -> None:
    os.kill(server.supervisors[0], number)
    until(lambda: not alive(server.broker))
    assert alive(server.supervisors[1])


def test_services_are_out_of_reach_of_ctrl_c(server: StandIn) -> None:
    groups = {os.getpgid(pid) for pid in server.everything}
    assert os.getpgid(server.process.pid) not in groups


def test_a_pipe_that_closes_is_enough_where_the_kernel_says_nothing(tmp_path: Path) -> None:
    services.start("sleeper", ["sleep", "600"], tmp_path)
    service = services._services.pop("sleeper")
    # `posix`, since the test process is patched: gevent closes late.
    posix.close(service.hand)
    assert service.gone(10)
    assert is_free(tmp_path / "sleeper.lock")
    posix.close(service.answers)
    posix.waitpid(service.pid, 0)


def test_a_forked_worker_holds_nothing_open_and_stops_nothing(url: str) -> None:
    service = services._services["broker"]
    pipes = {os.fstat(fd).st_ino for fd in (service.hand, service.answers)}
    worker = os.fork()
    if not worker:
        services.stop()
        os._exit(bool(pipes & open_files()))
    assert os.waitpid(worker, 0)[1] == 0
    assert pipes <= open_files()
    assert answers(url)


@pytest.mark.parametrize("server", [GEVENT], indirect=True)
def test_a_second_server_on_the_same_directory_is_refused(server: StandIn) -> None:
    with pytest.raises(services.ServiceError, match="in use by another server"):
        services.start_broker(server.data_dir)
    assert answers(server.url)
    assert broker_pid(server.url) == server.broker


def test_a_new_server_waits_for_the_leftover_of_a_crashed_one(tmp_path: Path) -> None:
    with (tmp_path / "broker.lock").open("w") as leftover:
        fcntl.flock(leftover, fcntl.LOCK_EX)
        # Whoever has the lock lets it go half a second later: the file is shared with this process.
        holder = subprocess.Popen(["sleep", "0.5"], pass_fds=[leftover.fileno()])
    try:
        assert answers(services.start_broker(tmp_path))
    finally:
        assert holder.wait() == 0
        services.stop()


def test_a_child_that_keeps_dying_is_started_again_and_again(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    try:
        services.start("moth", ["sh", "-c", f"echo here >> {shlex.quote(str(notes))}"], tmp_path)
        until(lambda: notes.exists() and len(notes.read_text().splitlines()) >= 3)
    finally:
        services.stop()


def test_a_child_gets_the_settings_it_was_given(tmp_path: Path) -> None:
    note = tmp_path / "note"
    try:
        services.start(
            "child",
            ["sh", "-c", f'echo "$COLOUR" > {shlex.quote(str(note))}; sleep 600'],
            tmp_path,
            {"COLOUR": "blue"},
        )
        assert until(lambda: note.exists() and note.read_text()) == "blue\n"
    finally:
        services.stop()


def test_a_program_that_does_not_exist_is_reported(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(services.ServiceError, match="No such file or directory"):
        services.start("ghost", ["/nowhere/ghost"], tmp_path)
    assert "ghost: [Errno 2] No such file or directory: '/nowhere/ghost'" in capfd.readouterr().err


@pytest.mark.parametrize("name", ["x" * 120, "a b'c\"d%20?e#f", "ö"])
def test_the_broker_starts_in_any_directory(tmp_path: Path, name: str) -> None:
    try:
        assert answers(services.start_broker(tmp_path / name))
    finally:
        services.stop()


def test_a_long_path_gets_a_short_socket_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/tmp")
    paths = {broker.socket_path(tmp_path / (letter * 100)) for letter in "ab"}
    assert len(paths) == 2
    assert {path.parent for path in paths} == {Path(f"/tmp/backchannel-{os.getuid()}")}


def test_a_shared_folder_that_others_may_enter_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 100)
    folder = tmp_path / f"backchannel-{os.getuid()}"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert broker.socket_path(long).parent == folder
    folder.chmod(0o755)
    assert broker.socket_path(long).parent != folder
    folder.rmdir()
    folder.symlink_to(tmp_path)
    assert broker.socket_path(long).parent != folder


def test_a_broker_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "READY_SECONDS", 0.5)
    (tmp_path / "appendonlydir").mkdir()
    (tmp_path / "appendonlydir" / "appendonly.aof.manifest").write_text("nonsense\n")
    with pytest.raises(broker.BrokerError, match="Invalid AOF manifest"):
        services.start_broker(tmp_path)
    assert not services._services


def test_the_server_on_the_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    packaged = broker.program()
    assert packaged.name == "valkey-server"
    installed = tmp_path / "redis-server"
    installed.symlink_to(packaged)
    assert broker.program() == installed


def test_no_server_at_all_is_said_clearly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(broker.BrokerError, match="REDIS_URL"):
        broker.program()


def test_the_log_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broker.log_path(tmp_path).write_bytes(b"x" * (broker.LOG_MAX_BYTES + 1))
    broker.command(tmp_path, tmp_path / "broker.sock")
    assert not broker.log_path(tmp_path).exists()


def is_another(url: str, pid: int) -> bool:
    try:
        return broker_pid(url) != pid
    except redis.ConnectionError:
        return False


@pytest.mark.parametrize("server", [GEVENT], indirect=True)
def test_a_killed_supervisor_is_started_again_by_its_server(server: StandIn) -> None:
    """`mend` is what the master calls every second."""
    os.kill(server.supervisors[0], signal.SIGKILL)
    until(lambda: is_another(server.url, server.broker))
    assert alive(server.supervisors[1])
    assert not Path(f"/proc/{server.supervisors[0]}").exists(), "its body lies about"


def test_what_runs_is_left_alone_and_what_was_stopped_too(url: str, tmp_path: Path) -> None:
    pid = broker_pid(url)
    assert services.mend() == []
    assert broker_pid(url) == pid
    services.stop()
    assert services.mend() == []
    assert not services._services
