"""Deliveries: authenticated webhook calls, what became of each, and why."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.orm import Session

from chat import idempotency, log, messages, runs
from chat.answers import Answer, parse_webhook, read_answer
from chat.errors import ChatError, Conflict, Invalid
from chat.ids import now_ms
from chat.models import Agent, Delivery, Message, Run, Thread
from chat.store import put
from chat.text import storable
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


def receive(session: Session, agent: Agent, said: Answer | ChatError, key: str | None, size: int) -> Receipt:
    """Take an agent's webhook: store what it says and enter the call in the ledger, whatever becomes of it.

    `size` is that of the body, in bytes.
    """
    delivery = Delivery(agent_id=agent.id, key=key and key[:KEY], bytes=size)
    try:
        receipt = take_in(session, agent, said, key, delivery)
        delivery.outcome = "repeated" if receipt.replayed else "received"
    except ChatError as error:  # raised before anything was written
        receipt = refusal(error)
        delivery.outcome = error.code
    delivery.status = receipt.status
    put(session, delivery)
    return receipt


def refusal(error: ChatError) -> Receipt:
    said = {"code": error.code, "message": error.message}
    return Receipt(error.status, {"error": {**said, "field": error.field} if error.field else said})


def take_in(session: Session, agent: Agent, answer: Answer | ChatError, key: str | None, delivery: Delivery) -> Receipt:
    if isinstance(answer, ChatError):
        raise answer
    delivery.thread_id, delivery.run_id = answer.thread_id[:KEY].replace("\x00", ""), answer.run_id
    check_key(key, answer)
    thread = find(session, storable(answer.thread_id, "thread_id"))
    if thread is None or thread.agent_id != agent.id:
        raise not_found()
    log.hold(session, thread.participant_id)
    meaning = idempotency.meaning_of(answer.thread_id, answer.run_id, *answer.meaning)
    kept = key and idempotency.recall(session, agent.id, key, meaning)
    if kept:
        return Receipt(200, kept, replayed=True)
    receipt = take_answer(session, agent, thread, answer)
    if key:
        idempotency.remember(session, agent.id, key, meaning, receipt.body)
    return receipt


def check_key(key: str | None, answer: Answer) -> None:
    if key is not None and not (0 < len(key) <= KEY and key.isprintable()):
        raise Invalid("bad_key", f"the headers webhook-id and Idempotency-Key hold 1 to {KEY} printable characters")
    if key is None and (answer.run_id is None or not answer.is_final):
        raise Invalid(
            "no_key",
            "send a run_id with the answer, or a webhook-id or Idempotency-Key header, so that nothing doubles",
        )


def take_answer(session: Session, agent: Agent, thread: Thread, answer: Answer) -> Receipt:
    if answer.run_id is None:
        return received(thread, answer, messages.reply(session, thread, answer))
    run = runs.find_or_start(session, agent, thread, answer.run_id, adopts=answer.names_its_runs)
    if answer.status == "running":
        if run.status == "queued":
            runs.change(session, run, status="running", error=None, started_at=now_ms())
        return received(thread, answer)
    if not answer.is_final:
        return received(thread, answer, messages.reply(session, thread, answer, run.id))
    return take_final(session, thread, run, answer)


def take_final(session: Session, thread: Thread, run: Run, answer: Answer) -> Receipt:
    """The first final answer ends the run; a second that says the same is given the first's receipt."""
    digest = idempotency.meaning_of(*answer.meaning)
    if run.answer == digest:
        message = session.get(Message, run.answer_id) if run.answer_id else None
        return received(thread, answer, message, replayed=True)
    if run.answer is not None and run.status != "waiting":
        raise Conflict("run_answered", "this run has been answered, and differently; a new message needs its own key")
    said = spoken(answer, run)
    message = messages.reply(session, thread, said, run.id) if said else None
    run.answer, run.answer_id = digest, message.id if message else None
    if answer.status == "waiting":
        runs.change(session, run, status="waiting", error=None)
        runs.close(session, run)
    else:
        runs.end(session, run, answer.status, answer.error)
    return received(thread, answer, message)


def spoken(answer: Answer, run: Run) -> Answer | None:
    """What of the answer is a message. A failure stands with its run, below the question, if there is one."""
    if answer.status in ("success", "waiting"):
        return answer
    return None if run.message_id else replace(answer, kind="notice", text=answer.error or "")


def received(thread: Thread, answer: Answer, message: Message | None = None, replayed: bool = False) -> Receipt:
    body = {
        "status": "received",
        "thread_id": thread.id,
        "run_id": answer.run_id,
        "message_id": message and message.id,
        "seq": message and message.seq,
    }
    return Receipt(200, body, replayed)
