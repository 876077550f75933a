"""Real pages in Chromium: whatever becomes of the server, the proxy or the page itself, it is complete soon after."""

from __future__ import annotations

import pytest

from tests.live.faults import generous
from tests.live.faults.conftest import StartRig
from tests.live.faults.imposter import Imposter
from tests.live.faults.ledger import Ledger
from tests.live.faults.report import span
from tests.live.faults.rig import Rig
from tests.live.faults.watchers import Crew
from tests.until import until

PAGES = {"kinds": ("chromium",), "watchers": 3, "streams": 4, "webhooks": 10, "messages": 3}
BACK = 35.0  # seconds from the start until a page is complete: its longest pause is 30 s
COMPLETE = 5.0  # seconds after the page itself comes back


def until_complete(rig: Rig, ledger: Ledger) -> float:
    with span() as took:
        until(lambda: all(watcher.is_connected for watcher in ledger.watchers), 2 * BACK)
        ledger.is_heard([ledger.say()], 2 * BACK)
    rig.notes.append(f"complete after {took.end - took.start:.1f} s")
    return took.end - took.start


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.row("R15", mutant="native_retry")
def test_pages_outlast_a_full_stop_without_being_loaded_again(start_rig: StartRig) -> None:
    """Behind nginx, as deployed: while the server is away the pages are answered 502, which an EventSource ends at."""
    rig = start_rig(nginx=True)
    with rig.load(**PAGES) as ledger:
        ledger.goes_on(20)
        rig.server.stop()
        ledger.lasts(20)
        rig.server.start()
        until_complete(rig, ledger)
    ledger.settle().check()
    assert loads(ledger) == PAGES["watchers"]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.row("R16", mutant="native_retry")
def test_pages_outlast_a_proxy_that_answers_for_the_server(rig: Rig) -> None:
    proxy = rig.proxies["client"]
    with rig.load(**PAGES) as ledger:
        ledger.goes_on(20)
        proxy.refuse()
        imposter = Imposter(proxy.port)
        ledger.lasts(10)
        imposter.stop()
        proxy.heal()
        until_complete(rig, ledger)
    assert imposter.answers > 10
    ledger.settle().check()
    assert loads(ledger) == PAGES["watchers"]


def loads(ledger: Ledger) -> int:
    """How often the pages were loaded: each says first that it is connecting, and has no state before."""
    return sum(len(watcher.named("loaded")) for watcher in ledger.watchers)


ONE_PAGE = {**PAGES, "watchers": 1}


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.row("R35", mutant="no_wakes")
@pytest.mark.parametrize(
    ("leaves", "seconds", "returns"), [("offline", 3, "online"), ("frozen", 15, "active"), ("away", 5, "back")]
)
def test_a_page_that_was_not_there_is_complete_soon_after(
    whole_rig: Rig, crew: Crew, leaves: str, seconds: float, returns: str
) -> None:
    """Its line is cut meanwhile, as it is for a computer that sleeps."""
    with whole_rig.load(parties=1, **ONE_PAGE) as ledger:
        [page] = [watcher for watcher in ledger.watchers if watcher.kind == "chromium"]
        ledger.goes_on(10)
        crew.turn(page, leaves)
        whole_rig.proxies["client"].cut()
        ledger.lasts(seconds)
        crew.turn(page, returns)
        with span() as back:
            ledger.is_heard([ledger.say()], generous(COMPLETE))
    ledger.settle().check()
    kept = " from the cache" if page.named("kept") else ""
    whole_rig.notes.append(f"{returns}{kept}: complete after {back.end - back.start:.1f} s")
