"""What every kind of agent that agents.toml describes has in common, and what it is handed with a question."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import httpx2 as httpx
from gevent import GreenletExit
from msgspec import Meta, Struct

from chat.events import Said

Text = Annotated[str, Meta(min_length=1)]
Seconds = Annotated[float, Meta(gt=0)]


class NotAccepted(Exception):
    """The agent did not take the question; the message is for the person who waits, `outcome` for who counts."""

    def __init__(self, outcome: str, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome


class Failed(Exception):
    """It makes no sense to ask again, or it is too late to; the message is for the person who waits."""


class HungUp(GreenletExit):
    """There is nobody to listen for any more. Thrown into whoever reads from an agent."""


class Stalled(BaseException):
    """The agent has not said a word for too long. Thrown likewise."""


@dataclass(frozen=True)
class Asked:
    """A question on its way. `body` is what a webhook agent would get: {thread_id, run_id, message, history}."""

    body: dict[str, Any]
    attempt: int  # from 1 on
    client: httpx.Client
    callback_url: str
    name: str = ""  # the agent's own name for the run, if it has told one
    rename: Callable[[str], None] = lambda name: None  # keep that name

    @property
    def thread_id(self) -> str:
        return str(self.body["thread_id"])

    @property
    def run_id(self) -> str:
        return str(self.body["run_id"])


class Kind(Struct, tag_field="kind", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One agent as it is described."""

    name: Text
    tenants: Annotated[list[Text], Meta(min_length=1)]
    token: str = ""  # by which its own webhooks are known; none if empty
    history: Annotated[int, Meta(ge=0, le=200)] = 20  # messages before the question
    stall_seconds: Seconds = 60.0  # without a word; then it is given up

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"  # and none of its secrets

    @property
    def tag(self) -> str:
        """Its kind, as the table of agents has it."""
        return str(self.__struct_config__.tag)

    @property
    def secret(self) -> str:
        """What nobody may read, though its server may quote it; empty if there is none."""
        return ""

    @property
    def webhook_url(self) -> str:
        """Where it takes questions by webhook; empty if it is asked otherwise."""
        return ""

    @property
    def answers_later(self) -> bool:
        """Is it only asked, and posts its answer itself?"""
        return False

    def check(self) -> None:
        """Look once, at start, whether it can be asked at all. Raises ValueError that says why not."""

    def ask(self, asked: Asked) -> None:
        """Put the question to one that answers later. Raises NotAccepted, Failed."""

    def answer(self, asked: Asked) -> Iterator[Said]:
        """Put the question and yield what comes, as it comes; without an end, the end of the iterator is one.

        Closing the iterator hangs up. Raises NotAccepted before the first word, Failed.
        """
        raise NotImplementedError

    def cancel(self, asked: Asked) -> None:
        """The answer is not wanted any more; who wrote it has hung up. Raises NotAccepted."""
