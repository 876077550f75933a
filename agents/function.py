"""An agent that is a function in the team's own module: it takes a question and yields what it says.

    from agents.function import agent

    @agent("words")
    def words(question):
        yield "You said: "
        yield question["message"]["text"]

It runs in a worker, beside everything else there: it may wait as long as it likes, and must not compute for long.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from traceback import extract_tb
from typing import Any

import msgspec

from agents.kind import Asked, Failed, HungUp, Kind, Stalled, Text
from chat.errors import Invalid
from chat.events import Said, Token, read_event

logger = logging.getLogger(__name__)

MARK = "backchannel_agent"
Answers = Callable[[dict[str, Any]], Iterable[str | Said | dict[str, Any]]]


def agent(name: str) -> Callable[[Answers], Answers]:
    """Mark a function as the agent of this name. It yields strings, which are tokens, or typed events."""

    def mark(function: Answers) -> Answers:
        setattr(function, MARK, name)
        return function

    return mark


class Function(Kind, tag="function", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A function of `module`, marked with this agent's name."""

    module: Text
    stall_seconds: float = 300.0

    def check(self) -> None:
        self.function()

    def function(self) -> Answers:
        """Raises ValueError if there is none."""
        try:
            module = import_module(self.module)
        except Exception as error:  # whatever it does when it is imported
            raise ValueError(f"the module {self.module} cannot be imported: {type(error).__name__}: {error}") from error
        for found in vars(module).values():
            if getattr(found, MARK, None) == self.name:
                return found  # type: ignore[no-any-return]
        raise ValueError(f'{self.module} has no function with @agent("{self.name}")')

    def answer(self, asked: Asked) -> Iterator[Said]:
        try:
            said = self.function()(asked.body)
            yield from map(event_of, [said] if isinstance(said, str | dict | Said) else said)
        except (Failed, HungUp, Stalled, GeneratorExit):
            raise
        except BaseException as error:  # SystemExit too: what a library thinks is the end must not be this worker's
            # Not its message, which may hold what the person wrote.
            place = extract_tb(error.__traceback__)[-1]
            where = f"{Path(place.filename).name}:{place.lineno}"
            logger.error("the function of agent %s raised %s at %s", self.name, type(error).__name__, where)
            raise Failed("The agent failed.") from None


def event_of(said: str | Said | dict[str, Any]) -> Said:
    if isinstance(said, str):
        return Token(said)
    try:
        return read_event(msgspec.to_builtins(said), "event")
    except (Invalid, TypeError, ValueError) as error:  # UnicodeError is a ValueError
        raise Failed(f"The agent said what is no event: {error}.") from None


def look_in(folder: Path) -> None:
    """Let modules be found beside the file that names them."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
