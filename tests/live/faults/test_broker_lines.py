"""The line to the broker is dead without saying so, or is hung up by the broker itself."""

from __future__ import annotations

import time

import msgspec
import pytest

from realtime.bus import Ring
from tests.live.faults import generous
from tests.live.faults.conftest import StartRig
from tests.live.faults.gauges import metric
from tests.live.faults.report import span
from tests.live.faults.rig import Rig
from tests.until import until

NOTICED = 12.0  # seconds until a dead line is known for one
TOLD_BY_TICK = 15.0  # seconds
RESYNCED = 3.0  # seconds
BURST = 5000  # hints
POUR = "for _ = 1, tonumber(ARGV[2]) do redis.call('PUBLISH', KEYS[1], ARGV[1]) end"


@pytest.mark.slow
@pytest.mark.row("R4", mutant="no_probe")
def test_a_line_that_is_dead_without_saying_so_is_noticed(whole_rig: Rig) -> None:
    server = whole_rig.server
    with whole_rig.load() as ledger:
        ledger.goes_on()
        before = metric(server, "broker_probe_failures_total")
        with span() as dead, whole_rig.proxies["broker"].broken("blackhole"):
            # Twice the time is enough: the probe's own patience is nearly all of it.
            until(lambda: metric(server, "broker_probe_failures_total") >= before + 2, 2 * NOTICED)
            took = time.time() - dead.start
        whole_rig.wait_until_ready()
        ledger.goes_on()
    report = ledger.settle()
    report.check()
    whole_rig.notes.append(f"noticed after {took:.1f} s; gap {report.gap(dead):.2f} s; {report.answers(dead)}")
    assert report.gap(dead) <= generous(TOLD_BY_TICK)
    assert report.cut_off == {}


@pytest.mark.slow
@pytest.mark.row("R6", mutant="ignore_confirmations")
def test_workers_who_are_hung_up_on_for_listening_too_slowly_miss_nothing(start_rig: StartRig) -> None:
    """Without the tick, which would hide it. The burst itself changes nothing."""
    rig = start_rig(tweaks=["slow_tick"])
    rig.broker.ask("CONFIG", "SET", "client-output-buffer-limit", "pubsub 64kb 32kb 1")
    with rig.load(webhooks=0, messages=0, streams=20) as ledger:
        for _ in range(3):
            until(lambda: rig.broker.listeners() == 2)  # each worker's; one that is ready may not be the other
            kills = killed(rig)
            kills += burst_of_hints(rig, ledger.load.cast[0].log)
            request = ledger.say()
            until(lambda kills=kills: killed(rig) >= kills, 30)
            ledger.is_heard([request], generous(RESYNCED))
    report = ledger.settle()
    report.check(at_least=23)
    assert report.cut_off == {}


def burst_of_hints(rig: Rig, log: str) -> int:
    """Tell of another life of the log so often and at such length that nobody listens that fast.

    Returns how many workers hear it: those that have a reader of this log.
    """
    [channel] = [name for name in rig.broker.ask("PUBSUB", "CHANNELS") if log.encode() in name]
    hint = msgspec.json.encode(Ring("another life", 1, "message", "", msgspec.Raw(b'"%s"' % (b"x" * 8000)), ""))
    hearing = int(rig.broker.ask("PUBSUB", "NUMSUB", channel)[1])
    rig.broker.ask("EVAL", POUR, 1, channel, hint, BURST)  # in one go, before anybody is given a turn to read
    return hearing


def killed(rig: Rig) -> int:
    """How many the broker has hung up on for that reason."""
    told = rig.broker.ask("INFO", "stats").decode()
    return int(told.partition("client_output_buffer_limit_disconnections:")[2].split()[0])
