"""A process that keeps one child running, for exactly as long as the server lives.

`python supervisor.py NAME DATA_DIR COMMAND...` is started by services.py, and by nobody else. Standard input
is the server's hand: when it lets go, by whatever death, the pipe closes (Linux: PR_SET_PDEATHSIG too).
It writes `ready`, or why not, to standard output, and the rest of its story to standard error.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

LEAVE_SECONDS = 5.0  # from SIGTERM to SIGKILL
LOCK_SECONDS = LEAVE_SECONDS + 2.0  # how long the leftover of a crashed server may take to go
FIRST_PAUSE_SECONDS = 0.1  # before a dead child is started again; doubles
LONGEST_PAUSE_SECONDS = 5.0
STEADY_SECONDS = 10.0  # a child that lived so long is started again without a longer pause

PR_SET_PDEATHSIG = 1  # linux/prctl.h
READY = "ready"


class LockedError(Exception):
    """Another server holds the data directory."""


class Supervisor:
    """One child, started again whenever it dies, until the server goes."""

    def __init__(self, name: str, argv: list[str], lock: int) -> None:
        self._name = name
        self._argv = argv
        self._lock = lock
        self._leaving = False
        self._bell, bell = os.pipe()
        # Signals ring a bell that select() hears: nothing is lost between looking and waiting.
        for end in (self._bell, bell):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(bell, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._leave)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def run(self) -> None:
        """Keep the child running until we are to leave, then end it."""
        pause = FIRST_PAUSE_SECONDS
        self._wait(0)  # the server may have gone while we waited for the lock
        while not self._leaving:
            started = time.monotonic()
            self._live_with_child()
            steady = time.monotonic() - started > STEADY_SECONDS
            pause = FIRST_PAUSE_SECONDS if steady else min(2 * pause, LONGEST_PAUSE_SECONDS)
            self._wait(pause)

    def _live_with_child(self) -> None:
        # The child shares the lock: the directory is free again only when both are gone, and for sure.
        child = subprocess.Popen(
            self._argv,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            pass_fds=[self._lock],
            preexec_fn=partial(_die_with, os.getpid()),
        )
        while child.poll() is None and not self._leaving:
            self._wait(None)
        _end(child)
        if not self._leaving:
            _tell(f"{self._name} ended ({child.returncode}); starting it again")

    def _wait(self, seconds: float | None) -> None:
        """Wait for a signal or the server's end, or for so many seconds."""
        heard = select.select([sys.stdin, self._bell], [], [], 0 if self._leaving else seconds)[0]
        if sys.stdin in heard:
            self._leaving = True
        with contextlib.suppress(BlockingIOError):
            os.read(self._bell, 4096)

    def _leave(self, *_: object) -> None:
        self._leaving = True


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(LEAVE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _die_with(parent: int) -> None:
    """In the new child, before its program starts: see to it that it cannot outlive the supervisor."""
    _at_parents_death(signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)


def _at_parents_death(number: int) -> None:
    """Let the kernel send us this signal when our parent dies. On other systems the pipe alone must do."""
    if sys.platform == "linux":
        _libc.prctl(PR_SET_PDEATHSIG, number)


# Loaded before any fork: between fork and exec nothing may be imported.
_libc = ctypes.CDLL(None)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Hold the directory's lock; raises LockedError when its owner does not go in time."""
    with path.open("a+") as file:
        deadline = time.monotonic() + LOCK_SECONDS
        while not _try_lock(file.fileno()):
            if time.monotonic() > deadline:
                raise LockedError(f"{path.parent} is in use by another server ({path.name} is locked)")
            time.sleep(0.05)
        yield file.fileno()


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _stand_alone() -> None:
    """Leave the server's process group (Ctrl-C is not for us) and whatever files it left open."""
    os.setsid()
    os.umask(0o077)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    _at_parents_death(signal.SIGTERM)


def _say(text: str) -> None:
    """Answer the server, which may be gone."""
    with contextlib.suppress(BrokenPipeError):
        os.write(1, text.encode() + b"\n")


def _tell(text: str) -> None:
    """Tell whoever reads the server's log, which may be gone too. As logs.py would, which is not for this process."""
    time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    record = {"time": time, "level": "warning", "logger": "supervisor", "message": text, "pid": os.getpid()}
    line = f"{time} {os.getpid()} WARNING supervisor: {text!r}"
    with contextlib.suppress(OSError):
        os.write(2, (json.dumps(record) if os.environ.get("LOG_FORMAT") == "json" else line).encode() + b"\n")


def main(name: str, data_dir: str, *argv: str) -> int:
    _stand_alone()
    try:
        if shutil.which(argv[0]) is None:  # found out later, it would be said after `ready`
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), argv[0])
        with _locked(Path(data_dir, f"{name}.lock")) as lock:
            supervisor = Supervisor(name, list(argv), lock)
            _say(READY)
            supervisor.run()
    except (LockedError, OSError) as error:
        _tell(f"{name}: {error}")  # first: who has its answer ends us
        _say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
