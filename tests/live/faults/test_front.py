"""Behind proxies: nginx as we ship its configuration, nginx as it comes, haproxy almost so (R34)."""

from __future__ import annotations

import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Browser, expect

from tests.fronts import defaults, haproxy, nginx, shipped
from tests.live.faults import generous
from tests.live.faults.cast import PASSWORD, Party
from tests.live.faults.conftest import StartRig
from tests.live.faults.gauges import metric
from tests.live.faults.rig import Rig
from tests.live.reader import Reader
from tests.server import free_port

# "defaults" first, which is the one that holds streams back if it is not told.
CASES = ["defaults", "shipped", "haproxy"]
FIRST_BYTE = 0.2  # seconds
DELAY = 0.1  # seconds
TABS = 20


@pytest.fixture(scope="module")
def fronts(lasting_rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The address of each proxy in front of the shared server."""
    folder, server = tmp_path_factory.mktemp("fronts"), lasting_rig.server
    ports = {name: free_port() for name in CASES}
    with ExitStack() as stack:
        stack.enter_context(
            nginx(folder / "shipped", ports["shipped"], shipped(folder, ports["shipped"], [server.port], tls=False))
        )
        stack.enter_context(nginx(folder / "defaults", ports["defaults"], defaults(ports["defaults"], server.port)))
        stack.enter_context(haproxy(folder, ports["haproxy"], server.port))
        yield {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}


@pytest.fixture
def alice(whole_rig: Rig) -> Party:
    [alice] = whole_rig.cast(parties=1, threads_each=1)
    return alice


@pytest.mark.row("R34", mutant="no_accel_header")
@pytest.mark.parametrize("front", CASES)
def test_events_come_through_at_once_and_plain(
    whole_rig: Rig, fronts: dict[str, str], alice: Party, front: str
) -> None:
    """P23-P25: nothing is held back, nothing compressed, the head comes before any event."""
    asked, began = {"Accept-Encoding": "gzip, deflate, br"}, time.monotonic()
    with Reader(fronts[front], token=alice.token, headers=asked) as reader:
        reader.wait("ready", seconds=10)
        first, delays = time.monotonic() - began, []
        assert "Content-Encoding" not in reader.headers
        for number in range(20):
            said = time.monotonic()
            reply(whole_rig, alice, f"word {number}")
            reader.wait_for_text(f"word {number}", 10)
            delays.append(time.monotonic() - said)
    delay = sorted(delays)[len(delays) // 2]
    whole_rig.notes.append(f"first byte after {first:.3f} s, webhook to event {delay:.3f} s")
    assert first <= generous(FIRST_BYTE)
    assert delay <= generous(DELAY)


def reply(rig: Rig, party: Party, text: str) -> None:
    said = {"thread_id": party.threads[0], "message": {"text": text}}
    key = {"Idempotency-Key": f"{party.name} {text}"}
    status, answer = rig.server.call("POST", "/webhook/chat-response", said, party.agent_token, key)
    assert status == 200, answer


@pytest.mark.row("R34")
@pytest.mark.parametrize("front", CASES)
def test_a_client_that_closes_is_let_go_through_a_proxy_too(fronts: dict[str, str], alice: Party, front: str) -> None:
    with Reader(fronts[front], token=alice.token) as reader:
        reader.wait("ready")
    with Reader(fronts[front], token=alice.token, cursor=reader.cursor) as again:
        assert again.wait("ready")[0].id == reader.cursor


def test_what_operators_read_is_not_shown_to_the_outside(fronts: dict[str, str]) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{fronts['shipped']}/metrics")


@pytest.mark.slow
@pytest.mark.row("R34")
def test_two_instances_are_one_to_those_outside_and_each_may_die(start_rig: StartRig) -> None:
    rig = start_rig(database="postgresql", nginx=True, instances=2, workers=1, TRUSTED_PROXIES=1)
    with rig.load() as ledger:
        ledger.goes_on()
        assert all(metric(server, "streams_open") for server in rig.servers), "both have readers"
        for server, way in zip(rig.servers, (signal.SIGKILL, signal.SIGTERM), strict=True):
            server.stop(way)
            ledger.goes_on(25)
            server.start()
            ledger.goes_on(25)
    report = ledger.settle()
    report.check()
    rig.notes.append(str(report.answers()))


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.row("R34")
def test_twenty_tabs_are_open_over_http_2_and_one_more_still_loads(start_rig: StartRig, browser: Browser) -> None:
    """Over HTTP/1.1 a browser has six connections to a site, and every tab holds one."""
    rig, port = start_rig(TRUSTED_PROXIES=1), free_port()
    [alice] = rig.cast(parties=1, threads_each=1)
    folder = rig.server.data_dir / "tls"
    with nginx(folder, port, shipped(folder, port, [rig.server.port])):
        context = browser.new_context(base_url=f"https://127.0.0.1:{port}", ignore_https_errors=True)
        signed_in = context.request.post(
            "/login", data={"name": alice.name, "password": PASSWORD}, headers={"Sec-Fetch-Site": "same-origin"}
        )
        assert signed_in.ok, signed_in.text()
        pages = [context.new_page() for _ in range(TABS + 1)]
        for page in pages:
            page.goto(f"/chat/{alice.threads[0]}")
            connection = page.locator("#connection-status")
            expect(connection).to_have_attribute("data-state", "connected", timeout=20_000)
        assert pages[-1].evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol") == "h2"
        reply(rig, alice, "to all tabs")
        for page in pages:
            expect(page.locator("#messages")).to_contain_text("to all tabs", timeout=20_000)
        context.close()
