"""Deliveries: authenticated webhook calls, what became of each, and why."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.orm import Session

from chat import branches, drafts, idempotency, log, messages, runs
from chat.answers import Answer, parse_webhook, read_answer
from chat.errors import ChatError, Conflict, Invalid
from chat.events import Batch, read_batch
from chat.ids import now_ms
from chat.models import Agent, Delivery, Message, Run, Thread
from chat.store import put
from chat.text import parse_json, storable
from chat.threads import find, not_found

KEY = 255  # characters


@dataclass(frozen=True)
class Receipt:
    """What the caller is answered: an HTTP status, a body, and whether it is the answer to an earlier call."""

    status: int
    body: dict[str, Any]
    replayed: bool = False


def read(body: bytes) -> Answer | ChatError:
    """What a webhook's body says, or why it cannot be taken. Away from the transaction: a body may be large."""
    try:
        return read_answer(parse_webhook(body))
    except ChatError as error:
        return error


def read_events(body: bytes) -> Batch | ChatError:
    """As `read`, for a batch of events."""
    try:
        return read_batch(parse_json(body))
    except ChatError as error:
        if error.code == "bad_json":
            return Invalid(error.code, f"{error.message}; for an event a line, send it as application/x-ndjson")
        return error


def receive(session: Session, agent: Agent, said: Answer | Batch | ChatError, key: str | None, size: int) -> Receipt:
    """Take an agent's webhook: store what it says and enter the call in the ledger, whatever becomes of it.

    `size` is that of the body, in bytes.
    """
    delivery = Delivery(agent_id=agent.id, key=key and key[:KEY], bytes=size)
    told = len(session.info.get("appended", ()))
    before = session.begin_nested() if isinstance(said, Batch) else None  # an answer is refused before it is written
    try:
        receipt = take_in(session, agent, said, key, delivery)
        delivery.outcome = "repeated" if receipt.replayed else "received"
        if before:
            before.commit()
    except ChatError as error:
        if before:
            before.rollback()
            del session.info.get("appended", [])[told:]
            session.info.pop("drafts", None)
        receipt = refusal(error)
        delivery.outcome = error.code
    delivery.status = receipt.status
    put(session, delivery)
    return receipt


def refusal(error: ChatError) -> Receipt:
    said = {"code": error.code, "message": error.message}
    return Receipt(error.status, {"error": {**said, "field": error.field} if error.field else said, **error.more})


def take_in(
    session: Session, agent: Agent, said: Answer | Batch | ChatError, key: str | None, delivery: Delivery
) -> Receipt:
    if isinstance(said, ChatError):
        raise said
    delivery.thread_id, delivery.run_id = said.thread_id[:KEY].replace("\x00", ""), said.run_id
    check_key(key, said)
    thread = find(session, storable(said.thread_id, "thread_id"))
    if thread is None or thread.agent_id != agent.id:
        raise not_found()
    log.hold(session, thread.participant_id)
    meaning = idempotency.meaning_of(said.thread_id, said.run_id, *said.meaning)
    kept = key and idempotency.recall(session, agent.id, key, meaning)
    if kept:
        return Receipt(200, kept, replayed=True)
    if isinstance(said, Answer):
        receipt = take_answer(session, agent, thread, said)
    else:
        receipt = take_events(session, agent, thread, said)
    if key:
        idempotency.remember(session, agent.id, key, meaning, receipt.body)
    return receipt


def check_key(key: str | None, said: Answer | Batch) -> None:
    if key is not None and not (0 < len(key) <= KEY and key.isprintable()):
        raise Invalid("bad_key", f"the headers webhook-id and Idempotency-Key hold 1 to {KEY} printable characters")
    if key is None and not said.is_numbered:
        what = "the index of its first event" if isinstance(said, Batch) else "a run_id that it answers"
        raise Invalid("no_key", f"send {what}, or a webhook-id or Idempotency-Key header, so that nothing doubles")


def take_answer(session: Session, agent: Agent, thread: Thread, answer: Answer) -> Receipt:
    if answer.run_id is None:
        return received(thread, answer, messages.reply(session, thread, **said_in(answer)))
    run = runs.find_or_start(session, agent, thread, answer.run_id, adopts=answer.names_its_runs)
    if answer.status == "running":
        if run.status == "queued":
            runs.change(session, run, status="running", error=None, started_at=now_ms())
        return received(thread, answer)
    if answer.names_its_runs and drafts.is_streamed(session, run):
        return received(thread, answer)  # it comes, or came, word by word, and holds more than this
    if not answer.is_final:
        check_wanted(run)
        return received(thread, answer, drafts.say_besides(session, thread, run, **said_in(answer)))
    return take_final(session, thread, run, answer)


def take_final(session: Session, thread: Thread, run: Run, answer: Answer) -> Receipt:
    """The first final answer ends the run; a second that says the same is given the first's receipt."""
    digest = idempotency.meaning_of(*answer.meaning)
    if run.answer == digest:
        message = session.get(Message, run.answer_id) if run.answer_id else None
        return received(thread, answer, message, replayed=True)
    check_wanted(run)
    if run.answer is not None and run.status != "waiting":
        raise Conflict("run_answered", "this run has been answered, and differently; a new message needs its own key")
    if run.status == "waiting" and run.answer_id and branches.questions_after(session, thread.id, run.answer_id):
        raise Conflict("run_answered", "the person has answered what this run asked; a new message needs its own key")
    if run.status in runs.FAILED and answer.status != "success":
        return received(thread, answer)  # it has ended already, and that it did not end well is known
    message = drafts.take_whole(session, thread, run, answer)
    run.answer, run.answer_id = digest, message.id if message else run.answer_id
    return received(thread, answer, message)


def check_wanted(run: Run) -> None:
    if run.status == "stopped":
        raise Conflict("run_ended", "this run has been stopped; what it still says is not wanted")


def said_in(answer: Answer) -> dict[str, Any]:
    return {"text": answer.text, "kind": answer.kind, "data": answer.data}


def take_events(session: Session, agent: Agent, thread: Thread, batch: Batch) -> Receipt:
    have, message, known = drafts.take(session, agent, thread, batch)
    receipt = received(thread, batch, message, replayed=known)
    return replace(receipt, body={**receipt.body, "have": have})


def received(thread: Thread, answer: Answer | Batch, message: Message | None = None, replayed: bool = False) -> Receipt:
    body = {
        "status": "received",
        "thread_id": thread.id,
        "run_id": answer.run_id,
        "message_id": message and message.id,
        "seq": message and message.seq,
    }
    return Receipt(200, body, replayed)
