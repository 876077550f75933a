"""The processes that live and die with the server: the embedded broker, the demo agent.

Each runs under a supervisor.py of its own, in its own session, so that Ctrl-C does not reach it before the
workers have drained. The handles live in this module, not in gunicorn.conf.py, which every HUP runs anew.

`posix` instead of `os` and `subprocess`: gunicorn reaps every child of its master, and gevent, where it has
patched `os`, would watch for the same children, and closes a pipe only when its loop comes round.
"""

from __future__ import annotations

import contextlib
import os
import posix
import select
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from realtime import broker
from supervisor import LEAVE_SECONDS, LOCK_SECONDS, READY

ROOT = Path(__file__).resolve().parent
ANSWER_SECONDS = LOCK_SECONDS + 3.0
STOP_SECONDS = LEAVE_SECONDS + 2.0


class ServiceError(RuntimeError):
    """A service did not start; the message says what to do."""


@dataclass
class Service:
    """One running supervisor, as its server sees it."""

    name: str
    pid: int
    hand: int  # write end of its standard input: as long as we hold it, it stays
    answers: int  # read end of its standard output: at its end, it is gone

    def read_answer(self) -> str:
        """Return what it says at start, empty when it ended or kept silent."""
        if not select.select([self.answers], [], [], ANSWER_SECONDS)[0]:
            return ""
        return posix.read(self.answers, 4096).decode(errors="replace").strip()

    def gone(self, seconds: float) -> bool:
        """Wait up to so many seconds for its end."""
        deadline = time.monotonic() + seconds
        while select.select([self.answers], [], [], max(0, deadline - time.monotonic()))[0]:
            if not posix.read(self.answers, 4096):
                return True
        return False

    def stop(self) -> None:
        """End it and its child: politely, then for sure."""
        # A signal only while it is surely alive: afterwards its number may be somebody else's.
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.gone(0):
                break
            os.kill(self.pid, number)
            if self.gone(STOP_SECONDS):
                break
        self.bury()

    def bury(self) -> None:
        """Forget one that is gone."""
        self.let_go()
        with contextlib.suppress(ChildProcessError):  # gunicorn may have been first
            posix.waitpid(self.pid, 0)

    def let_go(self) -> None:
        posix.close(self.hand)
        posix.close(self.answers)


@dataclass(frozen=True)
class Order:
    """What is to run, as it was asked for."""

    argv: Sequence[str]
    data_dir: Path
    env: Mapping[str, str]


_services: dict[str, Service] = {}
_orders: dict[str, Order] = {}
_urls: dict[Path, str] = {}


def start_broker(data_dir: Path) -> str:
    """Start the embedded broker, wait until it answers, and return its URL for redis-py.

    Called again (a HUP runs gunicorn.conf.py anew), it returns the URL of the one that runs. Call it from the
    main thread, like `start`. Raises ServiceError or BrokerError when there is no broker to be had.
    """
    data_dir = _made(data_dir)
    if data_dir not in _urls:
        socket = broker.socket_path(data_dir)
        start("broker", broker.command(data_dir, socket), data_dir)
        try:
            broker.wait_until_ready(socket, data_dir)
        except broker.BrokerError:
            del _orders["broker"]
            _services.pop("broker").stop()
            raise
        _urls[data_dir] = f"unix://{quote(str(socket))}"
    return _urls[data_dir]


def start(name: str, argv: Sequence[str], data_dir: Path, env: Mapping[str, str] | None = None) -> None:
    """Start a supervised child unless it runs already; `env` is added to our own.

    Linux ends it with the *thread* that called this, so call it from the main one. Raises ServiceError when
    another server holds the directory.
    """
    if name in _services and not _services[name].gone(0):
        return
    _start(name, Order(argv, _made(data_dir), env or {}))


def mend() -> list[str]:
    """Start anew what should run and does not, its supervisor having been killed; say what was done.

    Call it from the main thread, again and again.
    """
    return [_mend(name) for name in _orders if name not in _services or _services[name].gone(0)]


def stop() -> None:
    """End what was started, the last first: the broker outlives those who use it."""
    _orders.clear()
    while _services:
        _services.popitem()[1].stop()
    _urls.clear()


def _start(name: str, order: Order) -> None:
    argv = [sys.executable, str(ROOT / "supervisor.py"), name, str(order.data_dir), *order.argv]
    service = _spawn(name, argv, order.env)
    answer = service.read_answer()
    if answer != READY:
        service.stop()
        raise ServiceError(answer or f"{name} did not start in {ANSWER_SECONDS:.0f} s")
    _services[name], _orders[name] = service, order


def _mend(name: str) -> str:
    if name in _services:
        _services.pop(name).bury()
    try:
        _start(name, _orders[name])
    except (ServiceError, OSError) as error:
        return f"{name} had gone and cannot be started again: {error}"
    return f"{name} had gone and was started again"


def _made(data_dir: Path) -> Path:
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    return data_dir.resolve()


def _spawn(name: str, argv: list[str], env: Mapping[str, str]) -> Service:
    theirs_in, hand = posix.pipe()
    answers, theirs_out = posix.pipe()
    ends = [(posix.POSIX_SPAWN_DUP2, theirs_in, 0), (posix.POSIX_SPAWN_DUP2, theirs_out, 1)]
    try:
        pid = posix.posix_spawn(argv[0], argv, {**os.environ, **env}, file_actions=ends)
    finally:
        posix.close(theirs_in)
        posix.close(theirs_out)
    return Service(name, pid, hand, answers)


def _forget() -> None:
    """In a forked worker: the services are the master's, to stop and to hold."""
    _orders.clear()
    while _services:
        _services.popitem()[1].let_go()


os.register_at_fork(after_in_child=_forget)
