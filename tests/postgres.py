"""A real PostgreSQL for the tests, from the machine's own binaries: started once, gone with the process that asked."""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache, cached_property
from itertools import count
from pathlib import Path
from tempfile import mkdtemp

import psycopg

from prepare import migrate
from tests.ports import free_port
from tests.until import until

PASSWORD = "a password of tests"
STARTING = 30.0  # seconds
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "400",
    "fsync": "on",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "log_min_messages": "fatal",
    "checkpoint_timeout": "1h",  # one in the middle of a test stops the disk for seconds
}


@cache
def cluster() -> Cluster:
    """The one of this process, started when first asked for."""
    found = Cluster(Path(mkdtemp(prefix="postgres-")))
    atexit.register(found.remove)
    return found.start()


class Cluster:
    """A server with a data folder of its own; databases are made by `new`, already migrated, and `empty`."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._data = folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = count(1)
        self._cleared: list[str] = []
        self._make()

    def _make(self) -> None:
        password = self._folder / "password"
        password.write_text(PASSWORD)
        give_to_owner(self._folder, password)
        how = [
            "--username=tests",
            f"--pwfile={password}",
            "--auth=md5",  # scram's rounds cost both sides 4 ms a connection
            "--encoding=UTF8",
            "--locale=C.UTF-8",
        ]
        command = [*as_owner(), program("initdb"), f"--pgdata={self._data}", "--no-sync", *how]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self._folder)

    def start(self) -> Cluster:
        settings = [f"-c{name}={value}" for name, value in SETTINGS.items()]
        server = [program("postgres"), "-D", str(self._data), "-p", str(self.port), "-k", str(self._folder)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*as_owner(), *server, *settings], cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        until(self.answers, STARTING)
        return self

    def stop(self, number: int = signal.SIGINT) -> None:
        """SIGINT cuts all connections and writes everything; SIGQUIT is `pg_ctl stop -m immediate`: a crash."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(STARTING)
        self._process = None

    def remove(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self._folder, ignore_errors=True)

    def answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text()
        try:
            self.run("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def send(self, number: int) -> None:
        """Send a signal to the server and to all that it forked."""
        assert self._process is not None
        pid = self._process.pid
        os.kill(pid, number)  # the first, so that a stopped one forks no more
        for forked in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(forked), number)

    # Databases

    def url(self, name: str) -> str:
        return f"postgresql://tests:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{self.port}/{name}"

    def empty(self) -> str:
        """Make a database without tables; return its URL."""
        return self._create("template0")

    def new(self) -> str:
        """Make a database at the newest version of its tables; return its URL."""
        return self._create(self._template)

    def copy(self, url: str) -> str:
        """Make a database with the same content; those who use the first are cut off. Return its URL."""
        self.cut(url)
        return self._create(database_of(url))

    def cut(self, url: str) -> None:
        """End all connections to a database."""
        self.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database_of(url)}'")

    def run(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement as the superuser, outside of a transaction."""
        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=5) as connection:
            found = connection.execute(statement)
            return found.fetchall() if found.description else []

    @cached_property
    def _template(self) -> str:
        url = self.empty()
        migrate(url)
        return database_of(url)

    @contextmanager
    def borrowed(self) -> Iterator[str]:
        """A migrated database for the length of a test, then cleared for the next: making one takes 80 ms."""
        url = self._cleared.pop() if self._cleared else self.new()
        yield url
        with suppress(psycopg.Error):  # whatever the test did to it: nobody will be given it again
            self._clear(database_of(url))
            self._cleared.append(url)

    def _clear(self, name: str) -> None:
        # But for those who are idle, and hold nothing: they wait for the next test (tests/kept.py).
        cut = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = %s AND pid != pg_backend_pid() AND state != 'idle'"
        )
        with psycopg.connect(self.url(name), connect_timeout=5, options="-c lock_timeout=2s") as connection:
            connection.execute(cut, [name])
            for table in ("tenants", "idempotency_keys"):  # with all that belongs to a tenant
                connection.execute(f"DELETE FROM {table}")

    def _create(self, template: str) -> str:
        name = f"test{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)


def database_of(url: str) -> str:
    return url.rpartition("/")[2]


def program(name: str) -> str:
    """Where the program is: on PATH, or where Debian keeps it, the newest version."""
    kept = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    found = kept[-1] if kept else shutil.which(name)
    assert found, f"there is no {name}; Debian, Ubuntu: apt install postgresql"
    return str(found)


def as_owner() -> list[str]:
    """PostgreSQL refuses to run as root."""
    # Its end comes with ours, even if we are killed. After a change of user: that would forget it.
    die_with_us = ["setpriv", "--pdeathsig", "QUIT"]
    if os.geteuid() != 0:
        return die_with_us
    owner = owning_user()
    return [*die_with_us, f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]


def owning_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def give_to_owner(*paths: Path) -> None:
    if os.geteuid() == 0:
        for path in paths:
            shutil.chown(path, *owning_user()[2:4])
