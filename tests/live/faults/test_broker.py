"""The broker dies, stops, stutters or forgets: that may cost seconds, and never a message."""

from __future__ import annotations

import pytest

from tests.live.faults import MOST, generous
from tests.live.faults.conftest import StartRig
from tests.live.faults.report import span
from tests.live.faults.rig import Rig
from tests.until import until

NOTICED = 3.0  # seconds until a message is heard without the broker, and until it is as before after its return
WEBHOOK = 2.0  # seconds, with the broker dead or paused
TOLD_BY_TICK = 5.0  # seconds, with the broker paused
SLOW_WEBHOOK = 0.5  # seconds, on a slow line to the broker


@pytest.mark.row("R1", mutant="no_poll_fallback")
def test_a_killed_broker_costs_seconds_and_no_message(whole_rig: Rig) -> None:
    with whole_rig.load() as ledger:
        ledger.goes_on()
        with span() as down, whole_rig.broker.dead():
            ledger.lasts(4)
            ledger.catches_up(generous(NOTICED))  # while it is dead
            whole_rig.opens_a_stream(ledger, generous(NOTICED))
        took = whole_rig.wait_until_ready(generous(NOTICED))
        with span() as after:
            ledger.goes_on(50)
    report = ledger.settle()
    report.check()
    whole_rig.notes.append(f"down: gap {report.gap(down):.2f} s, {report.answers(down)}; ready {took:.2f} s after")
    assert report.answers(down).share(200) >= MOST
    assert report.answers(down).p99 <= generous(WEBHOOK)
    assert report.gap(down) <= generous(NOTICED)
    assert report.gap(after) <= generous(NOTICED)
    assert report.cut_off == {}


@pytest.mark.row("R2")
@pytest.mark.parametrize("times", [pytest.param(3, marks=pytest.mark.quick), pytest.param(9, marks=pytest.mark.slow)])
def test_subscriptions_killed_again_and_again_cost_seconds_and_no_message(whole_rig: Rig, times: int) -> None:
    killed = 0
    with whole_rig.load() as ledger:
        for _ in range(times):
            ledger.lasts(2)
            killed += whole_rig.broker.end_subscriptions()
    report = ledger.settle()
    report.check()
    assert killed >= times
    assert report.gap() <= generous(NOTICED)
    assert report.cut_off == {}


@pytest.mark.row("R2", mutant="ignore_confirmations")
def test_every_new_subscription_asks_the_store_what_it_has_missed(start_rig: StartRig) -> None:
    """Without the tick, which would hide it: what is said between the kill and the new subscription rings nobody."""
    rig = start_rig(through=["broker"], tweaks=["slow_tick"])
    with rig.load(webhooks=0, messages=0) as ledger:
        for _ in range(4):
            until(lambda: rig.broker.listeners() == 2)  # each worker's; one that is ready may not be the other
            assert rig.broker.end_subscriptions() == 2
            ledger.is_heard([ledger.say()], generous(NOTICED))
    ledger.settle().check(at_least=24)


@pytest.mark.row("R3", mutant="default_redis_timeouts")
@pytest.mark.parametrize(
    "seconds", [pytest.param(3, marks=pytest.mark.quick), pytest.param(17, marks=pytest.mark.slow)]
)
def test_a_paused_broker_holds_nobody_up(whole_rig: Rig, seconds: float) -> None:
    with whole_rig.load() as ledger:
        ledger.goes_on()
        with span() as paused, whole_rig.broker.paused():
            ledger.lasts(seconds)
            ledger.goes_on(40, generous(WEBHOOK))  # while it is paused
            whole_rig.opens_a_stream(ledger, generous(NOTICED))
            ledger.catches_up(generous(TOLD_BY_TICK))
        ledger.goes_on()
    report = ledger.settle()
    report.check()
    whole_rig.notes.append(f"paused: gap {report.gap(paused):.2f} s, {report.answers(paused)}")
    assert report.answers(paused).share(200) >= MOST
    assert report.answers(paused).p99 <= generous(WEBHOOK)
    assert report.answers(paused).p50 <= WEBHOOK, "webhooks wait for a broker that answers nothing"
    assert report.gap(paused) <= generous(TOLD_BY_TICK)
    assert report.cut_off == {}
    if paused.end - paused.start > 18:  # seconds, the longest time between two heartbeats
        assert all(watcher.named("ping") for watcher in report.watchers if watcher.kind != "chromium")


@pytest.mark.slow
@pytest.mark.row("R5", mutant="publish_in_the_request")
def test_a_slow_line_to_the_broker_slows_no_webhook_and_cuts_no_stream(whole_rig: Rig) -> None:
    with whole_rig.load() as ledger:
        ledger.goes_on()
        with span() as slow, whole_rig.proxies["broker"].broken("delay", 300, 20_000):
            ledger.lasts(8)
    report = ledger.settle()
    report.check()
    whole_rig.notes.append(f"slow: gap {report.gap(slow):.2f} s, {report.answers(slow)}")
    assert report.answers(slow).p99 <= generous(SLOW_WEBHOOK)
    assert report.answers(slow).quantile(0.1) < 0.3, "webhooks wait for a broker that takes 0.6 s to answer"
    assert report.cut_off == {}


@pytest.mark.slow
@pytest.mark.row("R8", mutant="seq_in_redis")
def test_a_broker_that_forgets_all_or_takes_no_more_changes_no_content(whole_rig: Rig) -> None:
    broker = whole_rig.broker
    with whole_rig.load() as ledger:
        ledger.goes_on()
        for _ in range(3):
            broker.ask("FLUSHALL")
            ledger.goes_on()
        broker.ask("CONFIG", "SET", "maxmemory", 1)
        try:
            ledger.goes_on()
            broker.ask("FLUSHALL")
            ledger.goes_on()
        finally:
            broker.ask("CONFIG", "SET", "maxmemory", 0)
    report = ledger.settle()
    report.check()
    assert report.answers().share(200) >= MOST
    assert report.cut_off == {}
