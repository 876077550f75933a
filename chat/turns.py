"""Turns: what a person does about answers: stop them, ask again or otherwise, put questions in order, judge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from chat import branches, drafts, messages, runs, threads
from chat.accounts import Viewer
from chat.errors import Conflict, Invalid
from chat.ids import now_ms, rfc3339
from chat.models import Dispatch, Message, Run, Thread
from chat.native import run_json, with_tip
from chat.text import check_length, storable

CATEGORY = 100  # characters
COMMENT = 2000  # characters


def stop(session: Session, viewer: Viewer, thread_id: str, run_id: str | None = None) -> dict[str, Any]:
    """End the answer that the thread waits for, if it is `run_id`; what is written of it stays. Raises Conflict."""
    thread = threads.hold_own(session, viewer, thread_id)
    run = runs.current(session, thread)
    if run is None or run_id not in (None, run.id):
        raise Conflict("not_running", "this answer is not being written; there is nothing to stop")
    end(session, run)
    return run_json(run)


def end(session: Session, run: Run) -> None:
    """End a run by its person's wish. An agent that has the question is told."""
    drafts.end(session, run, "stopped")
    if run.attempts:
        session.add(Dispatch(run_id=run.id, thread_id=run.thread_id, seq=run.rev, kind="cancel"))
        session.flush()


def retry(session: Session, viewer: Viewer, thread_id: str) -> dict[str, Any]:
    """Ask again what the agent takes too long to answer or, if nothing is late, what the newest run failed to.

    Raises Conflict if there is neither.
    """
    thread = threads.hold_own(session, viewer, thread_id)
    run = late_run(session, thread) or runs.newest(session, thread)
    message = session.get(Message, run.message_id) if run and run.message_id else None
    if run is None or message is None or (run.status not in runs.FAILED and run.late_after_ms is None):
        raise Conflict("nothing_to_retry", "the newest answer of this thread has not failed")
    if run.status in runs.WRITABLE:
        return ask_instead(session, thread, message, run)
    if run.answer_id:  # what there is of it stays on a branch of its own
        return ask_again(session, thread, message)
    return run_json(runs.start(session, thread, message, after_id=run.after_id))


def late_run(session: Session, thread: Thread) -> Run | None:
    run = runs.current(session, thread)
    return run if run and run.late_after_ms is not None else None


def ask_instead(session: Session, thread: Thread, message: Message, late: Run) -> dict[str, Any]:
    """Give an answer up and ask for another, before the questions that wait for it."""
    queue = branches.queue(session, thread.id)
    place = session.scalar(select(Dispatch.seq).where(Dispatch.run_id == late.id))
    end(session, late)
    if late.answer_id and not queue:
        return ask_again(session, thread, message)
    run = runs.start(session, thread, message, after_id=late.after_id)
    session.execute(update(Dispatch).where(Dispatch.run_id == run.id).values(seq=place))
    return run_json(run)


def regenerate(session: Session, viewer: Viewer, thread_id: str, message_id: str | None = None) -> dict[str, Any]:
    """Ask again for another answer, given an answer or its question. Raises NotFound, Conflict while one is written."""
    thread = threads.hold_own(session, viewer, thread_id)
    named = message_id or thread.tip_id
    if named is None:
        raise Conflict("no_question", "nothing has been said in this thread that could be asked again")
    message = session.get(Message, named) if named and "\x00" not in named else None
    if message is None or message.thread_id != thread.id:
        raise Invalid("unknown_message", "there is no such message in this thread", "message_id")
    check_idle(session, thread)
    return ask_again(session, thread, question_of(session, message))


def question_of(session: Session, message: Message) -> Message:
    """The question that led to this message. Raises Conflict if there was none."""
    while message.direction == "outgoing":
        run = session.get(Run, message.run_id) if message.run_id else None
        before = (run and run.message_id) or message.parent_id
        found = session.get(Message, before) if before else None
        if found is None:
            raise Conflict("no_question", "the agent said this unasked, so it cannot be asked again")
        message = found
    return message


def ask_again(session: Session, thread: Thread, question: Message) -> dict[str, Any]:
    if thread.tip_id != question.id and branches.has_answer(session, question):
        threads.change(session, thread, tip_id=question.id)
    return run_json(runs.start(session, thread, question))


def check_idle(session: Session, thread: Thread) -> None:
    if runs.current(session, thread):
        raise Conflict("busy", "an answer is being written; stop it first, or wait for it")


def edit(session: Session, viewer: Viewer, message_id: str, text: str) -> dict[str, Any]:
    """Say it otherwise: a question that still waits is changed, one that was put is asked anew on another branch."""
    thread, message = messages.fetch_own(session, viewer, message_id)
    if message.direction != "incoming":
        raise Invalid("not_yours", "only what you said yourself can be changed", "message_id")
    messages.check_said(text, message.data, None)
    if any(queued is message for queued, _ in branches.queue(session, thread.id)):
        messages.change(session, message, text=text, edited_at=now_ms())
        return with_tip(message, thread.tip_id)
    check_idle(session, thread)
    thread.tip_id = message.parent_id  # told with the message
    session.flush()
    other = messages.ask(session, viewer, thread, message.parent_id, text, data=message.data)
    runs.start(session, thread, other)
    return with_tip(other, thread.tip_id)


def withdraw(session: Session, viewer: Viewer, message_id: str) -> None:
    """Take back a question that still waits. Raises NotFound, Conflict if it was put."""
    thread, message = messages.fetch_own(session, viewer, message_id)
    take_out(session, message, run_that_waits(session, thread, message))
    if thread.tip_id == message.id:
        threads.change(session, thread, tip_id=message.parent_id)
    messages.remove(session, message)


def send_now(session: Session, viewer: Viewer, message_id: str) -> dict[str, Any]:
    """Put a question that waits as the next, and stop what it waits for; return its run."""
    thread, message = messages.fetch_own(session, viewer, message_id)
    run = run_that_waits(session, thread, message)
    running = runs.current(session, thread)
    if running is not None and running.started_at is not None:
        end(session, running)
    move_up(session, thread, message, run)
    return run_json(run)


def run_that_waits(session: Session, thread: Thread, message: Message) -> Run:
    for queued, run in branches.queue(session, thread.id):
        if queued is message:
            return run
    raise Conflict("not_queued", "this question no longer waits: its agent has it")


def move_up(session: Session, thread: Thread, message: Message, run: Run) -> None:
    """Let this question be the first of those that wait."""
    queue = branches.queue(session, thread.id)
    first, its_run = queue[0]
    if first is message:
        return
    if leads_to(first, message, [waiting for waiting, _ in queue]):
        if thread.tip_id == message.id:
            thread.tip_id = message.parent_id  # told with the message
            session.flush()
        take_out(session, message, run)
        messages.change(session, message, parent_id=first.parent_id)
        messages.change(session, first, parent_id=message.id)
    place = select(Dispatch.seq).where(Dispatch.run_id == its_run.id)
    earlier = (session.scalar(place) or 1) - 1
    session.execute(update(Dispatch).where(Dispatch.run_id == run.id).values(seq=earlier))


def leads_to(first: Message, message: Message, queue: Sequence[Message]) -> bool:
    """Do both wait on the same branch of the conversation?"""
    waiting = {each.id: each for each in queue}
    while message is not first and message.parent_id in waiting:
        message = waiting[message.parent_id]
    return message is first


def take_out(session: Session, message: Message, run: Run) -> None:
    """Let what follows this question follow what is before it: messages, and answers that are still to come."""
    for other in branches.following(session, message):
        messages.change(session, other, parent_id=message.parent_id)
    for its in runs.following(session, message.thread_id, message.id):
        if its is not run:
            runs.change(session, its, after_id=message.parent_id)


def judge(
    session: Session, viewer: Viewer, message_id: str, rating: str | int | None, category: str, comment: str
) -> dict[str, Any]:
    """Note what the viewer thinks of an answer, in place of what they thought before; nothing if `rating` is None."""
    thread, message = messages.fetch_own(session, viewer, message_id)
    if message.direction != "outgoing":
        raise Invalid("not_an_answer", "only what an agent said can be rated", "message_id")
    if rating not in (None, "up", "down", 1, 2, 3, 4, 5) or isinstance(rating, bool):
        raise Invalid("invalid", 'the rating must be "up", "down", a number from 1 to 5, or null', "rating")
    check_length(storable(category, "category"), CATEGORY, "category")
    check_length(storable(comment, "comment"), COMMENT, "comment")
    told = {"rating": rating, "category": category, "comment": comment, "at": rfc3339(now_ms())}
    messages.change(session, message, feedback=told if rating is not None else None)
    return with_tip(message, thread.tip_id)


def show(session: Session, viewer: Viewer, thread_id: str, message_id: str) -> dict[str, Any]:
    """Show the branch of this message, and go on from its end; return the thread."""
    thread = threads.hold_own(session, viewer, thread_id)
    message = session.get(Message, message_id) if "\x00" not in message_id else None
    if message is None or message.thread_id != thread.id:
        raise Invalid("unknown_message", "there is no such message in this thread", "message_id")
    return threads.change(session, thread, tip_id=branches.leaf(session, message))
