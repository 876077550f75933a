"""Readers come back by cursors that cannot be continued: they are told so once, and then know everything."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from chat.models import LogEntry, Participant
from tests.live.faults import generous
from tests.live.faults.cast import Party
from tests.live.faults.rig import Rig

TOLD = 5.0  # seconds
FORGOTTEN = 10  # events
READ_ANEW = ("httpx_sse", "ld_eventsource", "eventsource")  # those who do, as a client should, when they are told


@pytest.mark.slow
@pytest.mark.row("R29", mutant="replay_nothing")
def test_a_cursor_that_cannot_be_continued_is_reset_once_and_nothing_is_missed(whole_rig: Rig) -> None:
    with whole_rig.load(watchers=1, streams=20) as ledger:
        ledger.goes_on(100)
        mine, other = ledger.load.cast[:2]
        whole_rig.store.write(lambda session: forget(session, mine.log))
        crowd = [
            watcher
            for cursor in bad_cursors(mine, other)
            for watcher in whole_rig.watch([replace(mine, cursor=cursor)], watchers=2, streams=0, kinds=READ_ANEW)
        ]
        ledger.watchers.extend(crowd)
        ledger.catches_up(generous(TOLD))
        ledger.goes_on()
    report = ledger.settle()
    report.check()
    for watcher in crowd:
        assert len(watcher.named("reset")) == 1, f"{watcher.name} with {watcher.party.cursor}"
    reasons = {told["data"]["reason"] for watcher in crowd for told in watcher.named("reset")}
    whole_rig.notes.append(f"{len(crowd)} readers, reset as {sorted(reasons)}")
    assert reasons == {"epoch", "malformed", "future", "pruned"}


def bad_cursors(mine: Party, other: Party) -> list[str]:
    """Of no log, of none at all, from the future, of what has been deleted, and another tenant's."""
    epoch = mine.cursor.partition(".")[0]
    return ["0badc0de.7", "no cursor", f"{epoch}.999999", f"{epoch}.1", other.cursor]


def forget(session: Session, log: str) -> None:
    """As the pruner does."""
    session.execute(update(Participant).where(Participant.id == log).values(floor=FORGOTTEN))
    session.execute(delete(LogEntry).where(LogEntry.participant_id == log, LogEntry.seq <= FORGOTTEN))
