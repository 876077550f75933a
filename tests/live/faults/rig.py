"""The rig: a real server with a broker of its own, proxies where asked, and a load with outside watchers.

with Rig(folder, crew, through=["broker"]) as rig:
    with rig.load() as ledger:
        ledger.goes_on()
        rig.proxies["broker"].cut()
        ledger.goes_on()
    ledger.settle().check()
"""

from __future__ import annotations

import random
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType

from chat.store import Store
from tests import postgres
from tests.fronts import nginx, shipped
from tests.live.faults import SEED
from tests.live.faults.broker import Broker
from tests.live.faults.cast import Party, SilentAgent, make_cast
from tests.live.faults.chaosproxy import ChaosProxy
from tests.live.faults.ledger import Ledger
from tests.live.faults.load import Load
from tests.live.faults.watchers import OUTSIDE, Crew, Watcher
from tests.ports import free_port
from tests.server import Server
from tests.until import until

CONNECTING = 35.0  # seconds for all watchers to have their streams; less than a client's own patience (40)
SETTINGS = {"DEMO": 0, "DRAIN_SECONDS": 2, "STREAMS_PER_USER": 0, "ANSWERS_PER_MINUTE": 0}


class Rig:
    """Everything that a row needs, for the length of a `with`.

    `through` names the lines that go through a ChaosProxy: "broker", "database", "client"; `proxies` holds them.
    `database` is "sqlite" or "postgresql", a new one of the tests' own server (tests/postgres.py). With `nginx` our
    configuration of it stands in front of that many `instances`, which then need a PostgreSQL. `tweaks` are mutants
    (tests/mutants.py) that the row itself wants in the server, such as a slow tick. Further settings by name.
    """

    def __init__(
        self,
        folder: Path,
        crew: Crew,
        through: Collection[str] = (),
        database: str = "sqlite",
        nginx: bool = False,
        instances: int = 1,
        workers: int = 2,
        tweaks: Collection[str] = (),
        seed: int = SEED,
        **settings: object,
    ) -> None:
        self.luck = random.Random(seed)
        self.notes: list[str] = []
        self.proxies: dict[str, ChaosProxy] = {}
        self.broker = Broker(folder)
        self._folder, self._crew, self._through = folder, crew, through
        self._nginx, self._instances = nginx, instances
        self.database_url = postgres.cluster().new() if database == "postgresql" else ""
        self._settings = {**SETTINGS, "WORKERS": workers, **settings}
        if tweaks:
            self._settings["TWEAKS"] = ",".join(tweaks)
        self._stack = ExitStack()

    def __enter__(self) -> Rig:
        self._crew.start()
        with ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        self.store.close()

    def _start(self, stack: ExitStack) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self.agent = SilentAgent()
        stack.callback(self.agent.stop)
        self.broker.start()
        stack.callback(self.broker.kill)
        settings = {"AGENT_ALLOW": self.agent.address, **self._lines(stack), **self._settings}
        if self._instances > 1:
            settings["SECRET_KEY"] = "the same for all of them, and long enough"
        folders = [self._folder / f"server-{number}" for number in range(self._instances)]
        self.servers = [Server(folder, **settings) for folder in folders]
        self.server = self.servers[0]
        for server in self.servers:
            stack.callback(server.kill)
            server.start()
        self.url = f"http://127.0.0.1:{self._front(stack)}"

    def _lines(self, stack: ExitStack) -> dict[str, str]:
        """Where the server finds its broker and its database."""
        broker = self._line(stack, "broker", self.broker.port)
        urls = {"REDIS_URL": f"redis://127.0.0.1:{broker}"}
        if self.database_url:
            port = postgres.cluster().port
            urls["DATABASE_URL"] = self.database_url.replace(f":{port}/", f":{self._line(stack, 'database', port)}/")
        return urls

    def _front(self, stack: ExitStack) -> int:
        port = self.server.port
        if self._nginx:
            folder, front = self._folder / "nginx", free_port()
            behind = [server.port for server in self.servers]
            port = stack.enter_context(nginx(folder, front, shipped(folder, front, behind, tls=False)))
        return self._line(stack, "client", port)

    def _line(self, stack: ExitStack, name: str, port: int) -> int:
        """The port to use for this one: a proxy's, if it is to go through one."""
        if name not in self._through:
            return port
        self.proxies[name] = stack.enter_context(ChaosProxy(f"127.0.0.1:{port}"))
        return self.proxies[name].port

    @cached_property
    def store(self) -> Store:
        """The server's own database, opened beside it and past every proxy."""
        return Store(self.database_url or self.server.database_url)

    def cast(self, parties: int = 4, threads_each: int = 5) -> list[Party]:
        """New tenants, each with one person, an agent and threads."""
        return make_cast(self.store, parties, threads_each, self.agent.url)

    @contextmanager
    def load(
        self,
        parties: int = 4,
        threads_each: int = 5,
        webhooks: float = 20.0,
        messages: float = 5.0,
        watchers: int = 2,
        streams: int = 60,
        kinds: Collection[str] = OUTSIDE,
        **order: object,
    ) -> Iterator[Ledger]:
        """Let agents and people talk while the block runs, and outside clients watch from before the first word.

        `webhooks` and `messages` a second; `watchers` of each of the outside `kinds`, `streams` of our own besides;
        `order` is for those (clients/raw.py). Leaving the block waits until all that was said is acknowledged.
        """
        cast = self.cast(parties, threads_each)
        load = Load(self.url, cast, self.luck, webhooks, messages)
        crowd = self.watch(cast, watchers, streams, kinds, **order)
        ledger = Ledger(load, self._crew, crowd, self.store, self.notes.append)
        try:
            until(lambda: all(watcher.has_begun for watcher in crowd), CONNECTING)
            load.start()
            yield ledger
            load.stop()
        except BaseException:
            load.kill()
            ledger.leave()
            raise

    def watch(
        self, cast: list[Party], watchers: int, streams: int, kinds: Collection[str] = OUTSIDE, **order: object
    ) -> list[Watcher]:
        """Outside watchers, every second of them on one thread only, and our own streams; parties take turns."""
        crowd = []
        for kind in kinds:
            for number in range(watchers):
                party = cast[len(crowd) % len(cast)]
                thread = self.luck.choice(party.threads) if number % 2 else None
                crowd.append(self._crew.watch(kind, self.url, party, thread))
        return crowd + [self._crew.watch("raw", self.url, cast[n % len(cast)], **order) for n in range(streams)]

    def opens_a_stream(self, ledger: Ledger, seconds: float) -> None:
        """Open one more stream, and be done with it once it is."""
        [late] = self.watch(ledger.load.cast, watchers=0, streams=1)
        until(lambda: late.has_begun, seconds)
        self._crew.leave(late)

    def wait_until_ready(self, seconds: float = 30.0) -> float:
        """Wait until the server says that it is, broker and all; return how long that took, in seconds."""
        began = time.monotonic()
        until(self.server.is_ready, seconds)
        return time.monotonic() - began
