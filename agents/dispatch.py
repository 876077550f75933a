"""Puts the outbox's questions to their agents over HTTP, signed, again and again until one accepts or none is left."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import cached_property, partial

import gevent
import httpx2 as httpx
import msgspec
from gevent.event import Event as Flag
from gevent.pool import Pool

import logs
from agents import outbox
from agents.address import AddressRefused, read, resolve
from agents.answering import Answerer
from agents.kind import NotAccepted
from agents.outbox import Question
from agents.scribe import Scribe
from chat import drafts
from chat.signatures import sign
from chat.silence import Silence
from chat.store import Store, StoreAway
from chat.tokens import webhook_secret
from config import Config
from realtime import metrics

logger = logging.getLogger(__name__)

POLL = 1.0  # seconds, +-20 %: another worker's questions, retries that fall due, runs gone silent or late
CONNECT = 5.0  # seconds
AT_ONCE = 64  # questions on their way
ANSWERS = 128  # that this worker itself gets and writes, side by side


class Dispatcher:
    """One a worker. `wake` after a commit; the rest it finds by itself."""

    def __init__(self, store: Store, scribe: Scribe, settings: Config) -> None:
        self._store = store
        self._settings = settings
        self._caller = Caller(settings)
        self._silence = Silence(store)
        self._answerer = Answerer(store, scribe, settings)
        self._woken = Flag()
        self._pool, self._answers = Pool(AT_ONCE), Pool(ANSWERS)

    def start(self) -> None:
        self._answerer.start()
        self._caller.allow(self._answerer.urls)
        gevent.spawn(self._run)
        gevent.spawn(self._watch)

    def join(self, seconds: float) -> None:
        """Wait, for so long, until agents have what they are being asked, and the answers that this worker writes
        itself, which have been hung up on, are over."""
        gevent.joinall([*self._pool, *self._answers], timeout=seconds)

    def wake(self) -> None:
        self._woken.set()

    def _run(self) -> None:
        while True:
            self._woken.wait(POLL * random.uniform(0.8, 1.2))
            self._woken.clear()
            try:
                self._empty_outbox()
            except StoreAway as error:
                logger.warning("the outbox waits: %s", error)
            except Exception:
                logger.exception("the outbox waits")

    def _watch(self) -> None:
        """By the clock alone: nothing falls silent because something was committed."""
        while True:
            gevent.sleep(POLL * random.uniform(0.8, 1.2))
            for look in (self._end_silent, self._end_lost, self._silence.sweep):
                try:
                    look()
                except StoreAway as error:
                    logger.warning("nobody is told of silence: %s", error)
                except Exception:
                    logger.exception("nobody is told of silence")

    def _empty_outbox(self) -> None:
        # A look costs little, a claim takes the write lock: most of the time there is nothing to claim.
        while not self._answerer.is_stopping and self._store.peek(lambda s: outbox.is_due(s, self._may_answer)):
            self._pool.wait_available()  # before the lease begins to run
            question = self._store.write(lambda s: outbox.claim(s, self._caller.longest, self._may_answer))
            if question is None:
                return
            pool = self._answers if question.kind == "ask" and question.agent_kind != "webhook" else self._pool
            pool.spawn(self._put, question)

    @property
    def _may_answer(self) -> bool:
        """Whether there is room for one more. Answers take minutes, and must keep nobody from being asked."""
        return not (self._answers.full() or self._answerer.is_stopping)

    def _end_silent(self) -> None:
        seconds = self._settings.RUN_SECONDS
        while seconds and self._store.peek(lambda s: outbox.is_silent(s, seconds)):
            if not self._store.write(lambda s: outbox.end_silent(s, seconds)):
                return  # another worker was faster

    def _end_lost(self) -> None:
        pause = self._settings.PAUSE_SECONDS
        while self._store.peek(lambda s: drafts.are_lost(s, pause)):
            if not self._store.write(lambda s: drafts.end_lost(s, pause)):
                return

    def _put(self, question: Question) -> None:
        """Put one question and note what came of it. If it cannot be noted, the lease runs out and it is put again."""
        logs.begin()
        logs.about(run=question.run_id, thread=question.thread_id, agent=question.agent_id)
        logs.note(attempt=question.attempt)
        try:
            self._note(question, self._try(question))
        except StoreAway as error:
            logger.warning("cannot note what came of it: %s", error)

    def _try(self, question: Question) -> str | None:
        """Why the agent did not accept; None if it did."""
        try:
            self._way(question)(question)
        except NotAccepted as reason:
            logger.warning("%s", reason)
            metrics.DISPATCHES.labels(reason.outcome).inc()
            return str(reason)
        except Exception:  # whatever it was, the person who waits must be told
            logger.exception("the agent could not be asked")
            metrics.DISPATCHES.labels("broken").inc()
            return "The agent could not be asked."
        metrics.DISPATCHES.labels("accepted").inc()
        return None

    def _way(self, question: Question) -> Callable[[Question], None]:
        if question.agent_kind == "webhook":
            return self._caller.call
        return self._answerer.answer if question.kind == "ask" else self._answerer.cancel

    def _note(self, question: Question, error: str | None) -> None:
        waits = self._settings.agent_retries
        if error is None:
            self._store.write(lambda s: outbox.accepted(s, question))
        else:
            self._store.write(lambda s: outbox.failed(s, question, error, waits))


class Caller:
    """Calls agents."""

    def __init__(self, settings: Config) -> None:
        self._allow = settings.agent_allow
        self._key = settings.secret_key()
        self._callback = f"{settings.public_url}/webhook/chat-response"
        self._read_seconds = settings.AGENT_READ_SECONDS
        self.longest = 2 * CONNECT + self._read_seconds  # seconds an attempt may take

    def allow(self, urls: Iterable[str]) -> None:
        """Let these be asked wherever they are: the operator has chosen them."""
        self._allow |= {f"{name}:{port}" for _, name, port in map(read, urls)}

    @cached_property
    def _client(self) -> httpx.Client:
        # Made by the first call: it reads all certificates, which most processes with an application never need.
        timeout = httpx.Timeout(CONNECT, read=self._read_seconds)
        return httpx.Client(timeout=timeout, trust_env=False, follow_redirects=False)

    def call(self, question: Question) -> None:
        """Put the question; return when the agent has it. Raises NotAccepted."""
        sent = Flag()
        try:
            # The status is all we want: a body without end is never read.
            with gevent.Timeout(self.longest), self._post(question, sent) as response:
                status = response.status_code
        except AddressRefused as error:
            raise NotAccepted("forbidden", f"The agent was not asked: {error}.") from error
        except (httpx.HTTPError, OSError, gevent.Timeout) as error:
            if isinstance(error, httpx.ReadTimeout | gevent.Timeout) and sent.is_set():
                return  # it has the whole question and takes its time
            raise NotAccepted("unreachable", "The agent could not be reached.") from error
        if not 200 <= status < 300:
            raise NotAccepted("refused", f"The agent refused the question (HTTP {status}).")

    def _post(self, question: Question, sent: Flag) -> AbstractContextManager[httpx.Response]:
        address = resolve(question.url, self._allow)
        callback = f"{self._callback}?agent={question.agent_id}"
        body = msgspec.json.encode({**question.body, "callback_url": callback})
        signed = sign(webhook_secret(self._key, question.agent_id), question.run_id, int(time.time()), body)
        headers = {**signed, "Host": address.host, "Content-Type": "application/json", "User-Agent": "Backchannel"}
        extensions = {"sni_hostname": address.name, "trace": partial(note_sent, sent)}
        return self._client.stream("POST", address.url, content=body, headers=headers, extensions=extensions)


def note_sent(sent: Flag, event: str, _info: object) -> None:
    """Hear httpcore's trace: from here on the agent has the whole question."""
    if event == "http11.send_request_body.complete":
        sent.set()
