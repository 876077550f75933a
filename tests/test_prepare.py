"""Before the workers start: the tables at their newest, once however many start, or one line that says why not."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from chat.models import Tenant
from chat.store import Store, address
from prepare import MIGRATIONS, migrate, version
from tests.ports import free_port
from tests.postgres import cluster

ROOT = Path(__file__).parent.parent


def prepare(data_dir: Path, **settings: str) -> "subprocess.Popen[str]":
    """A server is being started: its first process."""
    environ = {**os.environ, "DATA_DIR": str(data_dir), "DEMO": "1", "DEMO_AGENT": "127.0.0.1:9", **settings}
    return subprocess.Popen(
        [sys.executable, "prepare.py"], cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_every_version_of_the_tables_is_made_from_nothing_and_only_once(tmp_path: Path, kind: str) -> None:
    url = cluster().empty() if kind == "postgresql" else f"sqlite:///{tmp_path / 'a.db'}"
    assert version(url) is None
    for _ in range(2):
        migrate(url)
        assert version(url) == max(path.name for path in MIGRATIONS.glob("versions/*.py"))[:4]


def test_servers_that_start_at_once_make_the_tables_once(tmp_path: Path) -> None:
    url = cluster().empty()
    starting = [prepare(tmp_path / str(number), DATABASE_URL=url) for number in range(4)]
    for process in starting:
        said, complaint = process.communicate(timeout=60)
        assert process.returncode == 0, complaint
        assert "sign in as" in said
    store = Store(url)
    assert store.read(lambda s: s.query(Tenant).count()) == 1
    store.close()


def test_a_restored_file_in_another_mode_is_in_wal_mode_before_the_first_worker_comes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    migrate(url)
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        assert connection.execute("PRAGMA journal_mode=DELETE").fetchone() == ("delete",)
    migrate(url)
    assert (tmp_path / "a.db").read_bytes()[18:20] == b"\x02\x02"


def unreachable(_: Path) -> str:
    return f"postgresql://ann:canary@127.0.0.1:{free_port()}/chat"


def wrong_password(_: Path) -> str:
    return str(address(cluster().url("postgres")).set(password="canary").render_as_string(hide_password=False))


def missing(_: Path) -> str:
    return cluster().url("missing")


def not_ours(_: Path) -> str:
    return "mysql://ann:canary@db/chat"


def unreadable(_: Path) -> str:
    return "postgresql://ann:canary@db:port/chat"


def corrupt(folder: Path) -> str:
    (folder / "a.db").write_bytes(b"no database" * 1000)
    return f"sqlite:///{folder / 'a.db'}"


def a_folder(folder: Path) -> str:
    return f"sqlite:///{folder}"


def no_folder(folder: Path) -> str:
    return f"sqlite:///{folder}/none/a.db"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (unreachable, "Connection refused"),
        (wrong_password, "password authentication failed"),
        (missing, 'database "missing" does not exist'),
        (not_ours, "DATABASE_URL must be"),
        (unreadable, "DATABASE_URL cannot be read"),
        (corrupt, "file is not a database"),
        (a_folder, "Is a directory"),
        (no_folder, "No such file or directory"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_line(tmp_path: Path, url: Callable[[Path], str], reason: str) -> None:
    process = prepare(tmp_path, DATABASE_URL=url(tmp_path))
    said, complaint = process.communicate(timeout=60)
    assert process.returncode == 1
    assert (said, complaint.count("\n")) == ("", 1), complaint
    assert complaint.startswith("Backchannel cannot start. ")
    assert reason in complaint
    assert "canary" not in complaint


def described(folder: Path, name: str, tenant: str) -> subprocess.CompletedProcess[str]:
    """A server starts with a file that describes this one agent, always with the same token."""
    agent = f'name = "{name}"\nkind = "webhook"\ntenants = ["{tenant}"]\nurl = "https://a.example/"\ntoken = "canary"\n'
    (folder / "agents.toml").write_text(f"[[agents]]\n{agent}")
    process = prepare(folder, AGENTS_FILE=str(folder / "agents.toml"))
    said, complaint = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, said, complaint)


def test_an_agent_may_be_renamed_in_the_file_but_not_moved_to_another_tenant(tmp_path: Path) -> None:
    assert described(tmp_path, "old", "Acme").returncode == 0
    assert described(tmp_path, "new", "Acme").stderr == ""
    moved = described(tmp_path, "new", "Evil Corp")
    assert moved.returncode == 1
    assert moved.stderr.count("\n") == 1
    assert "cannot start. the token of new is that of new of Acme; choose another, or give that one" in moved.stderr
    assert "canary" not in moved.stderr


def test_a_pool_of_nothing_is_refused(tmp_path: Path) -> None:
    process = prepare(tmp_path, DATABASE_POOL="0")
    assert "DATABASE_POOL must be a number from 1 on" in process.communicate(timeout=60)[1]


def test_a_server_whose_database_cannot_be_used_ends_and_says_so_once(tmp_path: Path) -> None:
    environ = {**os.environ, "DATA_DIR": str(tmp_path), "PORT": str(free_port()), "DATABASE_URL": unreachable(tmp_path)}
    command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.count("Backchannel cannot start. The database cannot be used: ") == 1


def test_a_command_says_in_one_line_that_the_store_is_away(tmp_path: Path) -> None:
    environ = {**os.environ, "DATA_DIR": str(tmp_path), "DATABASE_URL": unreachable(tmp_path)}
    command = [sys.executable, "-m", "flask", "--app", "app", "log", "rotate-epoch"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: the store is away: ")
    assert done.stderr.count("\n") == 1


def test_who_may_not_make_tables_is_told(tmp_path: Path) -> None:
    url = cluster().empty()
    cluster().run("CREATE ROLE reader LOGIN PASSWORD 'canary'")
    theirs = address(url).set(username="reader", password="canary").render_as_string(hide_password=False)
    process = prepare(tmp_path, DATABASE_URL=theirs)
    complaint = process.communicate(timeout=60)[1]
    assert "permission denied for schema public" in complaint
