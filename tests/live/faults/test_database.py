"""The database crashes, stops, or is locked: whoever asks is refused in time, and nothing is lost or doubled."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import psycopg
import pytest

from tests.live.faults import generous
from tests.live.faults.conftest import StartRig
from tests.live.faults.ledger import Ledger
from tests.live.faults.probe import Probe
from tests.live.faults.report import Report, span
from tests.live.faults.rig import Rig
from tests.postgres import cluster
from tests.until import until

pytestmark = pytest.mark.timeout(300)  # seconds, on machines that have other things to do

RECOVERY = 5.0  # seconds
REFUSED = 3.0  # seconds
HEALTH = 0.5  # seconds
STALL = 0.2  # seconds
DELIVERED = 3.0  # seconds


@pytest.fixture
def postgres_rig(start_rig: StartRig) -> Rig:
    return start_rig(database="postgresql")


def expect_only_refusals(report: Report) -> None:
    """Whatever could not be stored was refused as that, in time, and every stream stayed open."""
    answers = report.answers()
    assert set(answers.statuses) <= {200, 503}
    assert answers.max <= generous(REFUSED)
    assert report.cut_off == {}


@pytest.mark.row("R9")
def test_a_postgres_that_crashes_and_comes_back_costs_seconds_and_no_message(postgres_rig: Rig) -> None:
    with postgres_rig.load() as ledger:
        ledger.goes_on()
        with span() as down:
            cluster().stop(signal.SIGQUIT)  # as `pg_ctl restart -m immediate` does
            ledger.lasts(2)
            cluster().start()
        took = postgres_rig.wait_until_ready(generous(RECOVERY))
        with span() as after:
            ledger.goes_on(50)
            ledger.catches_up(generous(RECOVERY))
    report = ledger.settle()
    report.check()
    postgres_rig.notes.append(f"down: {report.answers(down)}; ready {took:.2f} s after, then {report.answers(after)}")
    assert took <= generous(RECOVERY)
    refused = [attempt.at + attempt.seconds for attempt in report.attempts() if attempt.status == 503]
    early = [at for at in refused if at < down.start]  # a machine that is too busy is out of time without any fault
    assert len(early) / len(refused) <= generous(0.01)
    assert max(refused) <= down.end + generous(RECOVERY)
    expect_only_refusals(report)


@pytest.mark.row("R9", mutant="no_pool_pre_ping")
def test_connections_that_died_while_nobody_looked_refuse_nobody(start_rig: StartRig) -> None:
    """Without the tick, which would meet them first."""
    rig = start_rig(database="postgresql", tweaks=["slow_tick"])
    with rig.load(webhooks=0, messages=0, streams=8, kinds=()) as ledger:
        say_at_once(ledger)
        cluster().cut(rig.database_url)
        say_at_once(ledger)
    report = ledger.settle()
    report.check()
    assert set(report.answers().statuses) == {200}
    expect_only_refusals(report)


def say_at_once(ledger: Ledger) -> None:
    said = [ledger.load.say("webhook", party, thread) for party in ledger.load.cast for thread in party.threads]
    until(lambda: all(request.acknowledged for request in said), 30)


@pytest.mark.slow
@pytest.mark.row("R10", mutant="no_deadline")
def test_a_postgres_that_stands_still_stops_no_worker(postgres_rig: Rig) -> None:
    """For 20 s, longer than from one heartbeat to the next."""
    with postgres_rig.load() as ledger:
        ledger.goes_on()
        with span() as still, probed(postgres_rig) as probes:
            cluster().send(signal.SIGSTOP)
            try:
                ledger.lasts(20)
            finally:
                cluster().send(signal.SIGCONT)
        took = postgres_rig.wait_until_ready(generous(RECOVERY))
        ledger.goes_on()
    report = ledger.settle()
    report.check()
    postgres_rig.notes.append(
        f"still: {report.answers(still)}; {'; '.join(map(str, probes))}; ready {took:.2f} s after"
    )
    expect_answers_in_time(*probes)
    expect_only_refusals(report)
    for watcher in report.watchers:
        beats = [told for told in watcher.named("ping") if told["t"] in still]
        assert beats or watcher.kind == "chromium", f"{watcher.name} heard no heartbeat"


@pytest.mark.slow
@pytest.mark.row("R10", mutant="session_held_over_a_yield")
@pytest.mark.parametrize("pool", [10, 2])
def test_a_lock_that_nobody_lets_go_stops_no_worker(start_rig: StartRig, pool: int) -> None:
    """Those who wait for it have all connections of a small pool."""
    rig = start_rig(database="postgresql", DATABASE_POOL=pool)
    with rig.load() as ledger:
        ledger.goes_on()
        with span() as locked, probed(rig) as probes, table_locked(rig):
            ledger.lasts(10)
        took = rig.wait_until_ready(generous(RECOVERY))
        ledger.goes_on()
    report = ledger.settle()
    report.check()
    rig.notes.append(f"locked: {report.answers(locked)}; {'; '.join(map(str, probes))}; ready {took:.2f} s after")
    assert report.answers(locked).statuses[503]
    expect_answers_in_time(*probes)
    expect_only_refusals(report)


@contextmanager
def table_locked(rig: Rig) -> Iterator[None]:
    with psycopg.connect(rig.database_url) as connection:
        connection.execute("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE")
        yield


@contextmanager
def probed(rig: Rig) -> Iterator[list[Probe]]:
    """Ask all the while whether it lives, whether it is ready, and for a list of threads."""
    [party] = rig.cast(parties=1, threads_each=1)
    asked = {"/health/live": None, "/health/ready": None, "/threads": party.token}
    with ExitStack() as stack:
        yield [stack.enter_context(Probe(rig.server, path, token)) for path, token in asked.items()]


def expect_answers_in_time(live: Probe, ready: Probe, threads: Probe) -> None:
    assert set(live.statuses) == {200}
    assert set(ready.statuses) | set(threads.statuses) <= {200, 503}
    assert max(live.longest, ready.longest) <= generous(HEALTH)
    assert threads.longest <= generous(REFUSED)


@pytest.mark.slow
@pytest.mark.row("R11", mutant="write_in_the_loop")
def test_an_sqlite_file_that_another_has_locked_stops_no_loop(whole_rig: Rig) -> None:
    with whole_rig.load() as ledger:
        ledger.goes_on()
        with span() as locked, Probe(whole_rig.server, "/health/live") as live, file_locked(whole_rig):
            ledger.lasts(5)
        ledger.goes_on()
    report = ledger.settle()
    report.check()
    whole_rig.notes.append(f"locked: {report.answers(locked)}; {live}")
    assert report.answers(locked).statuses[503]
    assert set(live.statuses) == {200}
    assert live.longest <= generous(STALL)
    expect_only_refusals(report)


@contextmanager
def file_locked(rig: Rig) -> Iterator[None]:
    path = rig.server.data_dir / "backchannel.db"
    with closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


SLOW_COMMIT = """
    CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON messages DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.text LIKE 'slow %') EXECUTE FUNCTION slowly()
"""
ROUNDS = 4


@pytest.mark.row("R22", mutant="newest_is_the_cursor")
def test_who_comes_back_between_two_commits_misses_neither(postgres_rig: Rig) -> None:
    """A is slow to commit, B comes meanwhile and is quick; all the while readers come back by what they have."""
    with psycopg.connect(postgres_rig.database_url) as connection:
        connection.execute(SLOW_COMMIT)
    with postgres_rig.load(
        parties=1, webhooks=0, messages=0, watchers=1, streams=20, stay=(0.1, 0.5), pause=(0, 0.1)
    ) as ledger:
        [party] = ledger.load.cast
        for number in range(ROUNDS):
            slow = ledger.load.say("webhook", party, party.threads[0], f"slow {number}")
            ledger.lasts(0.4)
            quick = ledger.load.say("webhook", party, party.threads[1], f"quick {number}")
            until(lambda both=(slow, quick): all(request.acknowledged for request in both), 30)
            ledger.is_heard([slow, quick], generous(DELIVERED))
    report = ledger.settle()
    report.check(at_least=2 * ROUNDS)
    postgres_rig.notes.append(f"{sum(len(watcher.named('ready')) for watcher in report.watchers)} visits")
    assert report.gap() <= generous(DELIVERED)
