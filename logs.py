"""Logs: each record one line on standard error, as text or as JSON, with the ids of what it is about.

The ids are structlog's contextvars, of which every greenlet has its own, so no call has to hand them on. What people
say, and what lets somebody in, is never in a log (P56, P58); what comes from outside is escaped (CWE-117).
"""

from __future__ import annotations

import json
import logging
import os
import re
import select
import sys
import traceback
from _thread import RLock  # the system's own: `threading` gives out gevent's, which are for one native thread
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import gevent
from gevent import monkey
from structlog.contextvars import bind_contextvars, clear_contextvars, merge_contextvars
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, WrappedLogger

STDERR = 2
AT_ONCE = select.PIPE_BUF  # bytes that a pipe takes whole or not at all
MESSAGE = 4000  # characters; more is cut off
TRACEBACK = 20_000  # characters; its end is kept
CHATTY = ("httpx2", "httpcore2", "alembic")

# Control characters, what a line may break at, what turns the reading direction, and what no encoding can write.
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# Our own ids: UUIDs, and the 16 digits of a connection. Whatever else came in their place is a stranger's text.
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{16}")

logger = logging.getLogger(__name__)


def set_up(form: str) -> None:
    """Write this process's log in this form from now on; what nobody caught goes there too."""
    logging._lock = RLock()  # type: ignore[attr-defined]  # SQLite's threads look up loggers, too (chat/sqlite.py)
    handler = Lines()
    handler.setFormatter(formatter(form))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # or logging itself would print a record's arguments, and stop for a full disk
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    sys.excepthook = uncaught


def watch_greenlets() -> None:
    """Log what a greenlet dies of: gevent would print it, as several lines."""
    gevent.get_hub().print_exception = died  # type: ignore[assignment]


def about(**ids: str | None) -> None:
    """Name what this greenlet's records are about from here on. What is no id of ours is left out."""
    bind_contextvars(**{name: id for name, id in ids.items() if id and ID.fullmatch(id)})


def begin() -> None:
    """Forget what this greenlet did before, or who started it: a connection serves many requests."""
    clear_contextvars()


def note(**facts: str | int) -> None:
    """Add what is safe to write, such as an error's code; never what a stranger wrote."""
    bind_contextvars(**facts)


class Lines(logging.Handler):
    """Writes each record at once and waits for nobody: a reader that hangs, or a full disk, costs lines only."""

    def createLock(self) -> None:
        self.lock = RLock()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = f"{self.format(record)}\n".encode(errors="backslashreplace")
            while line and is_writable(STDERR):
                line = line[os.write(STDERR, line[:AT_ONCE]) :]
        except Exception:  # there is nobody left to tell
            self.handleError(record)


def is_writable(fd: int) -> bool:
    poll = monkey.get_original("select", "poll")()  # the kernel's own: asked, it answers at once
    poll.register(fd, select.POLLOUT)
    return any(event & select.POLLOUT for _, event in poll.poll(0))


def formatter(form: str) -> logging.Formatter:
    return ProcessorFormatter(processors=[describe, merge_contextvars, {"json": as_json, "text": as_text}[form]])


def describe(_logger: WrappedLogger, _name: str, found: EventDict) -> EventDict:
    record: logging.LogRecord = found["_record"]
    described = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": found["event"][:MESSAGE],
        "pid": record.process,
    }
    if "exc_info" in found and found["exc_info"][0]:
        described["traceback"] = trace(*found["exc_info"])
    return {**described, "facts": getattr(record, "facts", {})}


def trace(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> str:
    """How it came to this, without any variable's value."""
    traced = traceback.TracebackException(kind, error, where)
    keep_first_lines(traced)
    return "".join(traced.format())[-TRACEBACK:].rstrip()


def keep_first_lines(traced: traceback.TracebackException | None) -> None:
    """Of what each error says keep the first line: in the others PostgreSQL quotes the row, message text and all."""
    while traced is not None:
        traced._str = str(traced).partition("\n")[0]  # type: ignore[attr-defined]
        traced = traced.__cause__ or traced.__context__


def as_json(_logger: WrappedLogger, _name: str, record: EventDict) -> str:
    flat = {**record, **record["facts"]}
    del flat["facts"]
    return json.dumps(flat, default=str).replace("\x7f", "\\u007f")


def as_text(_logger: WrappedLogger, _name: str, record: EventDict) -> str:
    """As a person reads it. A traceback's lines are indented, so that none can pass for a record."""
    told = ("time", "level", "logger", "message", "pid", "facts")  # the message says the facts already
    time, level, name, said, pid, _ = (record.pop(key) for key in told)
    traced = record.pop("traceback", "")
    ids = " ".join(f"{key}={value}" for key, value in sorted(record.items()))
    line = escaped(f"{time} {pid} {level.upper()} {name}: {said}{ids and f' [{ids}]'}")
    return "\n    ".join([line, *map(escaped, traced.splitlines())])


def escaped(text: str) -> str:
    return UNSAFE.sub(lambda found: found.group().encode("unicode_escape", "surrogatepass").decode(), text)


def uncaught(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logger.critical("this process ends", exc_info=(kind, error, where))


def died(_context: Any, kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    logger.error("a greenlet died", exc_info=(kind, error, where))
