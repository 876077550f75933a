"""Long histories, written straight into the store: what took a day to be said, for readers who come back late."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import insert, update
from sqlalchemy.orm import Session

from chat.ids import new_id
from chat.models import LogEntry, Message, Participant
from chat.store import Store
from tests.live.faults.cast import Party
from tests.live.faults.oracle import Shown


def seed(store: Store, party: Party, thread: str, texts: Sequence[str]) -> list[Shown]:
    """Let the agent have said these in a new log; the party's cursor is from before them. Nobody is rung."""
    first = int(party.cursor.rpartition(".")[2]) + 1
    shown = [(new_id(), text) for text in texts]
    log = {"participant_id": party.log, "thread_id": thread}
    messages = [
        {**log, "id": id, "seq": seq, "rev": seq, "author": "agent", "direction": "outgoing", "text": text}
        for seq, (id, text) in enumerate(shown, first)
    ]
    entries = [
        {**log, "seq": seq, "kind": "message", "change": "created", "subject_id": id}
        for seq, (id, _) in enumerate(shown, first)
    ]

    def write(session: Session) -> None:
        session.execute(insert(Message), messages)
        session.execute(insert(LogEntry), entries)
        session.execute(update(Participant).where(Participant.id == party.log).values(head=first + len(shown) - 1))

    store.write(write)
    return shown
