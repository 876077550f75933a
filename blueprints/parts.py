"""The parts of the running application that a door calls."""

from __future__ import annotations

from collections.abc import Iterator

from flask import current_app
from gevent.threadpool import ThreadPool

from agents.scribe import Scribe
from chat.store import Store, Work
from chat.transaction import T
from chat.write_check import WriteCheck
from config import Config
from realtime.hub import Hub


def store() -> Store:
    return current_app.extensions["store"]  # type: ignore[no-any-return]


def ask(work: Work[T]) -> T:
    """Run a transaction in which a person may ask an agent, within the limits. Raises TooMany, StoreAway."""
    return store().write(current_app.extensions["limits"].on(work))


def write_check() -> WriteCheck:
    """Whether the store still takes writes."""
    return current_app.extensions["write_check"]  # type: ignore[no-any-return]


def hub() -> Hub:
    return current_app.extensions["hub"]  # type: ignore[no-any-return]


def scribe() -> Scribe:
    return current_app.extensions["scribe"]  # type: ignore[no-any-return]


def settings() -> Config:
    return current_app.extensions["settings"]  # type: ignore[no-any-return]


def secret_key() -> str:
    """What signs sessions and derives webhook secrets."""
    return current_app.config["SECRET_KEY"]  # type: ignore[no-any-return]


def refusals() -> Iterator[int]:
    """Counts the webhooks that this worker refused for want of a credential."""
    return current_app.extensions["refusals"]  # type: ignore[no-any-return]


def passwords() -> ThreadPool:
    """The threads that hash passwords, off the loop."""
    return current_app.extensions["passwords"]  # type: ignore[no-any-return]
