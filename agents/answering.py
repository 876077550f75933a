"""Answers that a worker itself gets from an agent and writes: from models, graphs and functions (agents/kinds.py).

A question stays leased until the first word is here, so that one whose worker died before is put again; after that it
is the agent's answer that is lost. Whoever reads from an agent does so in `Listening`, which alone may be interrupted.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any

import gevent
import httpx2 as httpx
from msgspec import structs
from sqlalchemy.orm import Session

from agents import kinds, outbox, upstream
from agents.kind import Asked, Failed, HungUp, Kind, NotAccepted, Stalled
from agents.outbox import Question
from agents.scribe import Scribe, Writing
from chat import agents as stored
from chat import drafts, runs
from chat.errors import ChatError, Conflict, Invalid
from chat.events import MOST_TOKENS, Done, Error, Metadata, Reasoning, Said, Token, Usage, Whole
from chat.models import Agent, Message, Run
from chat.store import Store, StoreAway
from chat.text import AGENT_TEXT
from config import Config, ConfigError

logger = logging.getLogger(__name__)

TURN = 20  # events
RENEW = 4.0  # seconds between two looks at the leases of questions to which no word has come
QUOTED = 400  # characters of why it failed
CUT = "The server stopped in the middle of this answer."
UNKEPT = "The agent said what cannot be kept."


class Listening:
    """The words of one answer, as they come; `hang_up`, from anywhere, ends the wait for the next.

    Raises HungUp, Stalled, and what the agent raises.
    """

    def __init__(self, words: Iterator[Said], stall_seconds: float) -> None:
        self._words, self._stall_seconds = words, stall_seconds
        self._greenlet = gevent.getcurrent()
        self._is_waiting = self._is_over = False

    def __iter__(self) -> Iterator[Said]:
        while (event := self._next()) is not None:
            yield event

    def hang_up(self) -> None:
        self._is_over = True
        gevent.get_hub().loop.run_callback(self._interrupt)

    def _interrupt(self) -> None:
        # In the hub, so that between the look and the throw nothing happens: a transaction must not be interrupted.
        if self._is_waiting:
            self._greenlet.throw(HungUp())

    def _next(self) -> Said | None:
        if self._is_over:
            raise HungUp
        self._is_waiting = True
        try:
            with gevent.Timeout(self._stall_seconds, Stalled()):
                return next(self._words, None)
        finally:
            self._is_waiting = False

    def close(self) -> None:
        """Hang up on the agent: a generator's end closes its connection."""
        close = getattr(self._words, "close", None)
        if close:
            close()


class Answerer:
    """One a worker. `start` reads which agents there are."""

    def __init__(self, store: Store, scribe: Scribe, settings: Config) -> None:
        self._store, self._scribe, self._settings = store, scribe, settings
        self._callback = f"{settings.public_url}/webhook/chat-response"
        self._agents: kinds.Agents = {}
        self._wordless: dict[str, Question] = {}  # by run
        self._names: dict[str, str] = {}  # which agents have given to their runs, by run, until they are kept

    def start(self) -> None:
        try:
            self._agents = kinds.load(self._settings)
        except ConfigError as error:  # at a HUP: the server was not started with this file
            logger.error("%s; until that is mended, none of its agents answers", error)
        gevent.spawn(self._renew_for_ever)

    @property
    def is_stopping(self) -> bool:
        """Whether this worker is to leave, and should begin nothing more."""
        return self._scribe.is_draining

    @property
    def urls(self) -> frozenset[str]:
        """Where agents of the operator's own choice take questions."""
        return frozenset(agent.webhook_url for agent in self._agents.values() if agent.webhook_url)

    @cached_property
    def _client(self) -> httpx.Client:
        return upstream.client()  # made by the first call: it reads all certificates

    def answer(self, question: Question) -> None:
        """Ask the agent and write what it says. Raises NotAccepted if it is to be asked again."""
        agent, row, asked = self._look_up(question)
        try:
            if agent is not None and agent.answers_later:
                self._ask(question, agent, row, asked)
            else:
                self._write(question, agent, row, asked)
        except Invalid as reason:  # not even how it ended could be kept: else nobody would be told for a minute
            logger.error("the answer of agent %s cannot be kept: %s", row.name, reason.code)
            self._give_up(question.run_id, UNKEPT)
        except ChatError as error:
            logger.info("nobody waits for this answer any more: %s", type(error).__name__)

    def cancel(self, question: Question) -> None:
        """Tell the agent that the answer is not wanted. Raises NotAccepted."""
        agent, _, asked = self._look_up(question)
        if agent is not None:
            agent.cancel(asked)

    def _look_up(self, question: Question) -> tuple[Kind | None, Agent, Asked]:
        """Whom to ask, and what: as much of what was said before as this agent is to be told."""

        def look(session: Session) -> tuple[Kind | None, Agent, str, dict[str, Any]]:
            row, tenant = stored.with_tenant(session, question.agent_id)
            agent, run = self._agents.get((tenant, row.name)), session.get_one(Run, question.run_id)
            message = session.get(Message, run.message_id) if agent and run.message_id else None
            told = {"history": outbox.history(session, message, agent.history)} if agent and message else {}
            return agent, row, "" if run.external_id == run.id else run.external_id, told

        agent, row, name, told = self._store.read(look)
        callback, rename = f"{self._callback}?agent={row.id}", partial(self._names.__setitem__, question.run_id)
        body = question.body | told
        return agent, row, Asked(body, question.attempt, self._client, callback, name, rename)

    def _keep_name(self, run_id: str) -> None:
        """Not where the agent tells it: that is where it may be interrupted, and this is a transaction."""
        if name := self._names.pop(run_id, ""):
            self._scribe.persist(lambda s: runs.rename(s, run_id, name))

    @contextmanager
    def _leased(self, question: Question) -> Iterator[None]:
        """Let no other worker put it meanwhile, as long as no word has come."""
        self._wordless[question.run_id] = question
        try:
            yield
        finally:
            self._wordless.pop(question.run_id, None)
            self._keep_name(question.run_id)

    def _ask(self, question: Question, agent: Kind, row: Agent, asked: Asked) -> None:
        try:
            with self._leased(question):
                agent.ask(asked)
        except Failed as reason:
            with self._scribe.writing(row, asked.thread_id, asked.run_id) as writing:
                fail(writing, str(reason), agent.secret)

    def _write(self, question: Question, agent: Kind | None, row: Agent, asked: Asked) -> None:
        with self._scribe.writing(row, asked.thread_id, asked.run_id) as writing:
            if writing.pen.count:
                self._give_up(question.run_id, CUT)
            elif agent is None:
                fail(writing, "The operator's agents.toml does not describe this agent any more.")
            else:
                with self._leased(question):
                    self._pass_on(question, agent, asked, writing)

    def _pass_on(self, question: Question, agent: Kind, asked: Asked, writing: Writing) -> None:
        """Write what the agent says, and how it ends: one that fails is asked again if it has said nothing."""
        listening = Listening(agent.answer(asked), agent.stall_seconds)
        writing.when_over(listening.hang_up)
        try:
            self._write_all(question, listening, writing)
        except HungUp:
            if not writing.is_lost:  # this worker stops
                self._break_off(question, writing)
        except NotAccepted as reason:
            if not writing.pen.count:
                raise
            fail(writing, str(reason))
        except Failed as reason:
            fail(writing, str(reason), agent.secret)
        except Stalled:
            fail(writing, f"The agent said nothing for {agent.stall_seconds:.0f} seconds.")
        except Invalid as reason:
            fail(writing, f"The agent said what cannot be shown: {reason.message}")
        except (StoreAway, Conflict):
            raise
        except Exception as error:  # not its message, which may quote what the person wrote
            logger.error("the answer of agent %s broke off: %s", agent.name, type(error).__name__)
            fail(writing, "The agent's answer broke off.")
        finally:
            listening.close()

    def _write_all(self, question: Question, words: Listening, writing: Writing) -> None:
        for number, event in enumerate(words):
            event = storable(event)
            if number % TURN == TURN - 1:  # what is there already comes without a wait, and others wait meanwhile
                gevent.sleep(0)
            if isinstance(event, Token | Reasoning) and not event.text:
                continue
            self._keep_name(question.run_id)
            if isinstance(event, Whole) and len(event.text.encode()) > AGENT_TEXT:  # of pieces the pen counts the bytes
                raise Invalid("too_long", f"an answer must have at most {AGENT_TEXT:,} bytes")
            writing.take(event)
            if event.is_last:
                return
            if self._wordless.pop(question.run_id, None):
                self._scribe.persist(lambda s: outbox.accepted(s, question))
        writing.take(Done())

    def _break_off(self, question: Question, writing: Writing) -> None:
        """This worker stops: what has begun is lost, at once and not in a minute, and what has not is put elsewhere."""
        if writing.pen.count:
            self._scribe.save(writing)
            self._give_up(question.run_id, CUT)
        else:
            self._store.write(lambda s: outbox.let_go(s, question))

    def _give_up(self, run_id: str, why: str) -> None:
        self._scribe.persist(lambda s: drafts.give_up(s, run_id, why))

    def _renew_for_ever(self) -> None:
        while True:
            gevent.sleep(RENEW)
            waiting = list(self._wordless.values())
            try:
                if waiting:
                    self._store.write(partial(outbox.renew, questions=waiting))
            except StoreAway as error:
                logger.warning("the leases of questions cannot be renewed: %s", error)
            except Exception:
                logger.exception("the leases of questions cannot be renewed")


def fail(writing: Writing, why: str, secret: str = "") -> None:
    """End the answer as failed; why may quote what a model said, which may quote our secret."""
    why = why.replace(secret, "***") if secret else why
    writing.take(storable(Error(why if len(why) <= QUOTED else f"{why[:QUOTED]}…")))


def storable(event: Said) -> Said:
    """With what no database takes replaced: a model says what it says, and is not asked to mend it."""
    if isinstance(event, Token | Reasoning | Whole):
        event.text = mended(event.text)
    elif isinstance(event, Error):
        event.message = mended(event.message)
    elif isinstance(event, Metadata) and event.usage:
        event.usage = Usage(**{name: n for name, n in structs.asdict(event.usage).items() if is_count(n)})
    return event


def is_count(number: object) -> bool:
    return type(number) is int and 0 <= number <= MOST_TOKENS


def mended(text: str) -> str:
    return text.encode(errors="replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")
