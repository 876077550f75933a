"""Drafts in the store: who holds the pen, what is taken of an answer while it is written, and how it ends.

Only one writes at a time: `seize` counts `gen` up, and whoever comes with an older one has lost the pen. What changes
a draft does so under its log's lock, or under its `gen`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Select, bindparam, case, exists, select, update
from sqlalchemy.orm import Session, undefer

from chat import limits, log, messages, runs
from chat.accounts import Viewer
from chat.answers import Answer
from chat.clock import database_time
from chat.draft import Draft, end_stage
from chat.errors import Conflict, NotFound
from chat.events import Batch, Done, Error, Handoff, Question, Said, Whole, read_event
from chat.idempotency import meaning_of
from chat.ids import now_ms
from chat.models import Agent, Dispatch, DraftRow, Message, Run, Thread
from chat.pen import Pen, frames
from chat.text import storable
from chat.threads import find, may_read, not_found
from realtime.event import Event

ALIVE = 20.0  # seconds: who writes gives a sign of life every ten
AHEAD = 1000  # events that may come before their turn
AHEAD_BYTES = 1024 * 1024

SAVE = (
    update(DraftRow.table())
    .where(DraftRow.run_id == bindparam("run"), DraftRow.gen == bindparam("held"))
    .where(exists().where(Run.id == DraftRow.run_id, Run.status.in_(runs.OPEN)))
    .values(
        count=bindparam("taken"),
        content=bindparam("written"),
        said_at=case((DraftRow.count < bindparam("taken"), database_time()), else_=DraftRow.said_at),
        seen_at=database_time(),
    )
)
HELD = select(DraftRow).where(DraftRow.run_id == bindparam("run")).options(undefer(DraftRow.ahead)).with_for_update()
OPEN = (
    select(Run, DraftRow)
    .join(DraftRow, DraftRow.run_id == Run.id)
    .where(Run.thread_id.in_(bindparam("threads", expanding=True)), Run.status.in_(runs.WRITABLE))
)


class Behind(Conflict):
    """The events do not join on to those that are here, which are `have`."""

    def __init__(self, code: str, message: str, have: int) -> None:
        super().__init__(code, message)
        self.more = {"have": have}


def seize(session: Session, run: Run, row: DraftRow) -> None:
    """Take the pen of an open run. Its log is held."""
    session.add(row)
    row.gen += 1
    row.seen_at = database_time()
    session.flush()
    if run.status == "queued":
        runs.change(session, run, status="running", error=None, started_at=now_ms())


def pen_of(run: Run, row: DraftRow) -> Pen:
    return Pen(run.id, run.thread_id, run.participant_id, row.gen, row.count, draft_of(row))


def has_begun(session: Session, run_id: str) -> bool:
    """Has its agent said anything of the answer?"""
    return session.scalar(select(DraftRow.run_id).where(DraftRow.run_id == run_id, DraftRow.count > 0)) is not None


def seen(session: Session, run: Run) -> None:
    """The agent has given a sign of life."""
    row = DraftRow.table()
    session.execute(update(row).where(row.c.run_id == run.id).values(seen_at=database_time()))


def draft_of(row: DraftRow) -> Draft:
    return msgspec.json.decode(row.content, type=Draft)


def held(session: Session, run_id: str) -> DraftRow | None:
    """The row of a run's draft, locked, and asked for once in a transaction."""
    rows: dict[str, DraftRow] = session.info.setdefault("drafts", {})
    if run_id not in rows and (row := session.scalar(HELD, {"run": run_id})):
        rows[run_id] = row
    return rows.get(run_id)


def save_with(session: Session, pen: Pen, content: str, event: Said) -> bool:
    """Keep what this pen has written, its last event included, and what that does besides; say whether it still may.

    A transaction of which nobody knows whether it committed is run again: then there is nothing to do.
    """
    log.hold(session, pen.log)
    row = held(session, pen.run_id)
    if row is not None and row.gen == pen.gen and row.count == pen.count:
        return True
    if save(session, [(pen, pen.count, content)]):
        return False
    say_in_passing(session, pen, event)
    return True


def save(session: Session, written: Iterable[tuple[Pen, int, str]]) -> list[Pen]:
    """Keep what these pens have written, a count and a draft as JSON; return those that have been taken away."""
    lost = []
    for pen, count, content in sorted(written, key=lambda one: one[0].run_id):  # so that nobody waits in a circle
        values = {"run": pen.run_id, "held": pen.gen, "taken": count, "written": content}
        if session.connection().execute(SAVE, values).rowcount == 0:
            lost.append(pen)
    return lost


def held_by(session: Session, pens: Collection[Pen]) -> set[str]:
    """The runs that these pens may still write."""
    gens = {pen.run_id: pen.gen for pen in pens}
    query = select(DraftRow.run_id, DraftRow.gen).join(Run, Run.id == DraftRow.run_id)
    rows = session.execute(query.where(DraftRow.run_id.in_(gens), Run.status.in_(runs.OPEN)))
    return {run_id for run_id, gen in rows if gen == gens[run_id]}


def is_streamed(session: Session, run: Run) -> bool:
    """Does somebody write its answer as it comes, or has it come so, and waits for the person?"""
    since = 0.0 if run.status == "waiting" else database_time() - ALIVE
    alive = select(DraftRow.run_id).where(DraftRow.run_id == run.id, DraftRow.seen_at > since)
    return run.status in runs.OPEN and session.scalar(alive) is not None


def lost(seconds: float) -> Select[Any]:
    """Answers that were begun, and have not been gone on with for so long. What is to be asked again is not lost."""
    silent = select(DraftRow.run_id).where(DraftRow.seen_at < database_time() - seconds)
    # Only what is in the outbox, so that old runs are not even looked at.
    begun = select(Dispatch.run_id).where(Dispatch.kind == "ask", Dispatch.accepted_at.is_not(None))
    return select(Run).where(Run.id.in_(begun), Run.id.in_(silent), Run.status.in_(runs.WRITABLE))


def are_lost(session: Session, seconds: float) -> bool:
    return session.scalar(lost(seconds).with_only_columns(Run.id).limit(1)) is not None


def end_lost(session: Session, seconds: float) -> int:
    """End some answers whose agents fell silent in the middle of them; return how many."""
    found = runs.held(session, lost(seconds))
    for run in found:
        end(session, run, "lost", f"The agent fell silent in the middle of its answer, {seconds:.0f} seconds ago.")
    return len(found)


def give_up(session: Session, run_id: str, error: str) -> None:
    """End an answer that nobody goes on with. Nothing happens to one that has ended."""
    log.hold(session, *session.scalars(select(Run.participant_id).where(Run.id == run_id)))
    run = session.get(Run, run_id)
    if run is not None and run.status in runs.WRITABLE:
        end(session, run, "lost", error)


def take(session: Session, agent: Agent, thread: Thread, batch: Batch) -> tuple[int, Message | None, bool]:
    """Take a batch of events: those whose turn it is and, for later, those that came too early. The log is held.

    Returns how many there are now without a gap, the message if the answer has ended, and whether all was known.
    Raises Behind for a run that has ended, and for events that cannot join on.
    """
    run = runs.find_or_start(session, agent, thread, batch.run_id, status="running" if batch.events else "queued")
    row = held(session, run.id)
    have = row.count if row else 0
    first = have if batch.index is None else batch.index
    check_writer(row, batch.writer)
    if first + len(batch.events) <= have:
        if run.status in runs.OPEN:
            seen(session, run)
        return have, answer_of(session, run), True
    check_open(run, have)
    if first + len(batch.events) > have + AHEAD:
        raise Behind("too_far_ahead", f"the next event is number {have}; send that first", have)
    row = row or DraftRow(run_id=run.id)
    sign(row, batch.writer)
    pen, turn, ahead = put_in_order(run, row, dict(enumerate(batch.events, first)))
    told = list(frames(pen, turn))  # before anything is written: a refusal is entered in the ledger, and commits
    seize(session, run, row)
    for frame in told:
        log.tell(session, pen.log, frame.kind, pen.thread_id, {**frame.data, "gen": row.gen})
    row.said_at = database_time() if turn else row.said_at
    row.count, row.content, row.ahead = pen.count, msgspec.json.encode(pen.draft).decode(), ahead
    session.flush()
    for event in turn:
        say_in_passing(session, pen, event)
    message = finish(session, thread, run, pen, turn[-1]) if turn and turn[-1].is_last else None
    return pen.count, message, False


def put_in_order(
    run: Run, row: DraftRow, came: dict[int, dict[str, Any]]
) -> tuple[Pen, list[Said], dict[str, Any] | None]:
    """The events whose turn it is, with a pen to write them, and those that came too early. Raises Behind."""
    waiting = {**{int(index): event for index, event in (row.ahead or {}).items()}, **came}
    turn: list[Said] = []
    while (event := waiting.pop(row.count + len(turn), None)) is not None:
        turn.append(read_event(event, "events"))
        if turn[-1].is_last:
            break
    check_complete(turn, row.count)
    ahead = {str(index): event for index, event in sorted(waiting.items()) if index >= row.count + len(turn)}
    if ahead and len(msgspec.json.encode(ahead)) > AHEAD_BYTES:
        raise Behind("too_far_ahead", f"the next event is number {row.count}; send that first", row.count)
    return pen_of(run, row), turn, ahead or None


def check_open(run: Run, have: int) -> None:
    if run.status not in runs.WRITABLE:
        raise Behind("run_ended", f"this run has ended ({run.status}); to say more, begin a new one", have)


def check_writer(row: DraftRow | None, writer: str | None) -> None:
    """Raise Behind if another attempt to answer has begun: the words of two make no answer."""
    if row is not None and row.count and writer and row.writer and writer != row.writer:
        raise Behind("other_writer", "another attempt to answer has begun before; leave it to that", row.count)


def sign(row: DraftRow, writer: str | None) -> None:
    """Note which attempt writes. What another has said too early is not to be taken for its words."""
    if writer and row.writer and writer != row.writer:
        row.ahead = None
    row.writer = writer or row.writer


def take_pen(session: Session, agent: Agent, thread_id: str, run_id: str, index: int, writer: str | None = None) -> Pen:
    """Take the pen of the agent's run to go on at event number `index`. Raises NotFound, Behind."""
    thread = find(session, storable(thread_id, "thread_id"))
    if thread is None or thread.agent_id != agent.id:
        raise not_found()
    log.hold(session, thread.participant_id)
    run = runs.find_or_start(session, agent, thread, run_id, status="running")
    row = held(session, run.id)
    have = row.count if row else 0
    check_open(run, have)
    check_writer(row, writer)
    if index > have:
        raise Behind("too_far_ahead", f"the next event is number {have}; go on from there", have)
    row = row or DraftRow(run_id=run.id)
    sign(row, writer)
    seize(session, run, row)
    return pen_of(run, row)


def complete(session: Session, pen: Pen, last: Said) -> Message | None:
    """End the answer that this pen has written, by its last event. Raises Behind if the pen was taken away."""
    log.hold(session, pen.log)
    row, run = held(session, pen.run_id), session.get(Run, pen.run_id)
    if row is None or run is None:
        raise not_found()
    check_open(run, row.count)
    if row.gen != pen.gen:
        raise Behind("taken_over", "another request goes on with this answer", row.count)
    thread = session.get_one(Thread, run.thread_id)
    row.count = pen.count
    return finish(session, thread, run, pen, last)


def hand_in(session: Session, pen: Pen) -> None:
    """Somebody else has ended the run: what readers have been told until then, and the store has not, is kept."""
    log.hold(session, pen.log)
    row, run = held(session, pen.run_id), session.get(Run, pen.run_id)
    if row is None or run is None or run.status not in runs.FAILED or row.gen != pen.gen + 1:
        return
    pen.cut_back(run.ended_at or 0)
    if row.count >= pen.count or (run.answer_id is None and runs.newer(session, run)):
        return  # asked again already: that answer stands in its place
    keep(session, session.get_one(Thread, run.thread_id), run, pen.draft)
    row.count = pen.count
    session.flush()


def say_in_passing(session: Session, pen: Pen, event: Said) -> None:
    """What is a message of its own is one at once, whatever becomes of the answer. The log is held."""
    if isinstance(event, Handoff):
        thread, run = session.get_one(Thread, pen.thread_id), session.get_one(Run, pen.run_id)
        say_besides(session, thread, run, text=event.text, kind="handoff", data=event.data)


def say_besides(session: Session, thread: Thread, run: Run, **said: Any) -> Message:
    """A message of its own on the way to an answer."""
    message = messages.reply(session, thread, run=run, **said)
    if run.status in runs.OPEN:
        runs.change(session, run)  # its answer follows this one now
    return message


def check_complete(turn: Sequence[Said], have: int) -> None:
    """Raise Behind if the answer's end has counted more or fewer events than have come."""
    before = have + len(turn) - 1
    if turn and isinstance(turn[-1], Done) and turn[-1].count not in (None, before):
        raise Behind("incomplete", f"its end counts {turn[-1].count} events, and {before} have come", have)


def finish(session: Session, thread: Thread, run: Run, pen: Pen, last: Said) -> Message | None:
    """End the answer as its last event says. The pen has taken that event."""
    match last:
        case Done() | Whole(data=None) if not (pen.draft.text.strip() or has_handed_over(session, run)):
            return end(session, run, "error", "The agent finished without an answer.", draft=pen.draft)
        case Error(message=said):
            return end(session, run, "error", said, draft=pen.draft)
        case Question():
            run.answer = meaning_of("waiting", last.text, "notice", last.data, None)
            return ask(session, thread, run, pen.draft, last)
        case _:
            data = last.data if isinstance(last, Whole) else None
            message = end(session, run, "success", draft=pen.draft, data=data)
            run.answer = meaning_of("success", pen.draft.text, "chat", data, None)
            return message


def has_handed_over(session: Session, run: Run) -> bool:
    mine = select(Message.id).where(Message.thread_id == run.thread_id, Message.run_id == run.id)
    return session.scalar(mine.where(Message.kind == "handoff").limit(1)) is not None


def ask(session: Session, thread: Thread, run: Run, draft: Draft, question: Question) -> Message:
    """The agent waits for what the person says next; what it wrote before the question stays."""
    keep(session, thread, run, draft)
    message = messages.reply(session, thread, question.text, run, kind="notice", data=question.data)
    run.answer_id = message.id  # what comes late takes no place of what was kept
    let_go(session, run)
    runs.change(session, run, status="waiting", error=None)
    runs.close(session, run)
    return message


def end(
    session: Session, run: Run, status: str, error: str | None = None, draft: Draft | None = None, **said: Any
) -> Message | None:
    """End a run; what has been written of its answer is kept as a message, whatever the end. The log is held."""
    row = held(session, run.id)
    draft = draft or (draft_of(row) if row else Draft())
    let_go(session, run)
    message = keep(session, session.get_one(Thread, run.thread_id), run, draft, **said)
    runs.end(session, run, status, error)
    return message


def take_whole(session: Session, thread: Thread, run: Run, answer: Answer) -> Message | None:
    """Take a whole answer in one piece: it stands in for whatever was written until then. The log is held."""
    row = held(session, run.id)
    draft = draft_of(row) if row else Draft()
    if answer.status == "waiting":
        return ask(session, thread, run, draft, Question(answer.text, answer.data))
    if answer.status == "success":
        draft.text = answer.text
        return end(session, run, "success", draft=draft, data=answer.data, kind=answer.kind)
    message = end(session, run, answer.status, answer.error, draft=draft)
    if message is None and run.message_id is None:  # there is no question below which the failure could stand
        message = messages.reply(session, thread, answer.error or "", run, kind="notice")
    return message


def keep(session: Session, thread: Thread, run: Run, draft: Draft, **said: Any) -> Message | None:
    """Make what has been written a message; what comes late takes the place of what was kept when it was given up."""
    end_stage(draft, now_ms())
    limits.spend(session, thread, run, draft.usage)
    if not (draft.text.strip() or draft.reasoning.strip() or draft.tools or draft.sources or said.get("data")):
        return None
    said |= {"text": draft.text, "parts": draft.parts()}
    message = answer_of(session, run)
    if message is None or message.kind == "notice":  # in which the agent asked something
        message = messages.reply(session, thread, run=run, **said)
        run.answer_id = message.id
    else:
        messages.change(session, message, **said)
    return message


def let_go(session: Session, run: Run) -> None:
    """Whoever still writes has lost the pen. The count stays: what comes late is told whether it was known."""
    if row := held(session, run.id):
        row.gen, row.content, row.ahead = row.gen + 1, "{}", None


def answer_of(session: Session, run: Run) -> Message | None:
    return session.get(Message, run.answer_id) if run.answer_id else None


def partials(session: Session, threads: Collection[str]) -> list[Event]:
    """What is being written in these threads, for those who have just come."""
    found = session.execute(OPEN, {"threads": list(threads)})
    return [
        Event(0, "partial", run.thread_id, msgspec.Raw(msgspec.json.encode(partial_json(run, row))))
        for run, row in found
    ]


def partial(session: Session, viewer: Viewer, run_id: str) -> dict[str, Any]:
    """What has been written of a run's answer, also when it has ended. Raises NotFound."""
    run = None if "\x00" in run_id else session.get(Run, run_id)
    thread = find(session, run.thread_id) if run else None
    if run is None or thread is None or not may_read(viewer, thread):
        raise NotFound("unknown_run", "there is no such run, or it is not yours")
    row, message = session.get(DraftRow, run.id), answer_of(session, run)
    if message and run.status not in runs.OPEN:
        count = row.count if row else 0
        return {**about(run, row), "count": count, "text": message.text, **(message.parts or {})}
    return partial_json(run, row or DraftRow(run_id=run.id))


def partial_json(run: Run, row: DraftRow) -> dict[str, Any]:
    return {**about(run, row), "count": row.count, **msgspec.to_builtins(draft_of(row))}


def about(run: Run, row: DraftRow | None) -> dict[str, Any]:
    gen = row.gen if row else 0
    return {"run_id": run.id, "thread_id": run.thread_id, "message_id": run.answer_id, "status": run.status, "gen": gen}
