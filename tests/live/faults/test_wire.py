"""What is on the wire, whatever is said and wherever it is cut, is read alike by every client."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import gevent
import pytest
from gevent import socket
from hypothesis import HealthCheck, Phase, given, seed, settings
from playwright.sync_api import Page

from tests.live.faults import SEED
from tests.live.faults.cast import PASSWORD, Party
from tests.live.faults.chaosproxy import ChaosProxy
from tests.live.faults.conftest import StartRig
from tests.live.faults.rig import Rig
from tests.live.faults.seeds import seed as say_before
from tests.live.faults.watchers import Crew
from tests.sse import EventStream
from tests.test_frames import HOSTILE, LINE_ENDS, TEXTS
from tests.until import until

LANES = 8  # cuts at once, each through a proxy of its own
READERS = ("httpx_sse", "ld_eventsource", "eventsource", "raw")
LISTEN = """([path, count]) => new Promise((resolve, reject) => {
  const texts = []
  const source = new EventSource(path)
  source.addEventListener("error", () => reject(new Error(`cut after ${texts.length}`)))
  source.addEventListener("message", event => {
    if (texts.push(JSON.parse(event.data).text) < count) return
    source.close()
    resolve(texts)
  })
})"""


# Cut anywhere


class Cut:
    """A client as the standard wants it, whose connections end where they end."""

    def __init__(self, party: Party, port: int) -> None:
        self.texts: list[str] = []
        self.size = 0  # bytes of the last connection
        self._token, self._port = party.token, port
        self.cursor = party.cursor

    def read(self, last: str) -> None:
        """Read one connection until it is reset, or until this event has come."""
        parser, self.size = EventStream(self.cursor), 0
        with socket.create_connection(("127.0.0.1", self._port), timeout=30) as sock:
            head = f"Authorization: Bearer {self._token}\r\nLast-Event-ID: {self.cursor}\r\n"
            sock.sendall(f"GET /stream HTTP/1.0\r\n{head}\r\n".encode())
            self._read_on(sock, parser, last)
        self.cursor = parser.last_event_id

    def _read_on(self, sock: socket.socket, parser: EventStream, last: str) -> None:
        received = b""
        while parser.last_event_id != last:
            try:
                chunk = sock.recv(65536)
            except ConnectionResetError:
                return
            self.size += len(chunk)
            in_body, received = b"\r\n\r\n" in received, received + chunk
            body = chunk if in_body else received.partition(b"\r\n\r\n")[2]
            self.texts += [event.json["text"] for event in parser.feed(body) if event.event == "message"]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.row("R24", mutant="id_before_data")
def test_a_stream_may_be_cut_at_every_byte(whole_rig: Rig) -> None:
    """Each cut is one run: the cut connection, then one that continues from the last id that it had."""
    [party] = whole_rig.cast(parties=1, threads_each=1)
    texts = [f"{number} äöü 🦉 {'.' * 40}" for number in range(5)]
    say_before(whole_rig.store, party, party.threads[0], texts)
    last = f"{party.cursor.partition('.')[0]}.{int(party.cursor.partition('.')[2]) + len(texts)}"
    whole = Cut(party, whole_rig.server.port)
    whole.read(last)
    assert whole.texts == texts
    lanes = [gevent.spawn(cut_at, range(lane, whole.size, LANES), whole_rig, party, last) for lane in range(LANES)]
    gevent.joinall(lanes, raise_error=True)
    found = {at: heard for lane in lanes for at, heard in lane.value.items()}
    whole_rig.notes.append(f"cut at each of {len(found)} bytes")
    assert len(found) == whole.size >= 2048
    assert {at: heard for at, heard in found.items() if heard != texts} == {}


def cut_at(places: range, rig: Rig, party: Party, last: str) -> dict[int, list[str]]:
    found = {}
    with ChaosProxy(f"127.0.0.1:{rig.server.port}") as proxy:
        for at in places:
            reader = Cut(party, proxy.port)
            proxy.cut_after(at)
            reader.read(last)
            reader.read(last)
            found[at] = reader.texts
    return found


@pytest.mark.slow
@pytest.mark.row("R24")
def test_a_stream_may_come_byte_by_byte(whole_rig: Rig) -> None:
    whole_rig.proxies["client"].slice(1)
    with whole_rig.load(streams=4, watchers=1, webhooks=5, messages=2) as ledger:
        ledger.goes_on(20)
    ledger.settle().check(at_least=30)


# Whatever is said


def random_texts(count: int) -> list[str]:
    """So many by Hypothesis, after every single thing that we know to be hard."""
    found = [*LINE_ENDS, *HOSTILE, *(f"a{end}b" for end in LINE_ENDS)]

    @seed(SEED)
    @settings(max_examples=count, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(TEXTS)
    def note(text: str) -> None:
        found.append(text)

    note()
    return found[:count]


@pytest.mark.row("R36", mutant="encode_by_splitlines")
@pytest.mark.parametrize(
    "count",
    [
        pytest.param(500, marks=pytest.mark.quick),
        pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(300)]),
    ],
)
def test_every_client_reads_what_was_said(start_rig: StartRig, crew: Crew, page: Page, count: int) -> None:
    rig = start_rig()
    [party] = rig.cast(parties=1, threads_each=1)
    texts = random_texts(count)
    shown = say_before(rig.store, party, party.threads[0], texts)
    assert [text for _, text in shown] == texts
    watchers = [crew.watch(kind, rig.url, party) for kind in READERS]
    try:
        until(
            lambda: all(len(watcher.heard_at) >= len(texts) or watcher.losses for watcher in watchers), 30 + count / 100
        )
        for watcher in watchers:
            assert not watcher.losses, (watcher.name, watcher.losses[0])
            assert watcher.shown[party.threads[0]] == shown, watcher.name
    finally:
        for watcher in watchers:
            crew.leave(watcher)
    assert by_chromium(page, rig.url, party, len(texts)) == texts


def by_chromium(page: Page, url: str, party: Party, count: int) -> list[str]:
    """What the browser's own EventSource gives to a page of that site."""
    signed_in = page.request.post(f"{url}/login", data=json.dumps({"name": party.name, "password": PASSWORD}))
    assert signed_in.ok, signed_in.text()
    page.goto(f"{url}/login")
    assert urlsplit(page.url).netloc == urlsplit(url).netloc
    found = page.evaluate(LISTEN, [f"/stream?last_event_id={party.cursor}", count])
    return list(found)
