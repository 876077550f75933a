"""Watchers: outside clients, run in processes of their own, and what each of them was told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import gevent

from tests.live.faults.cast import PASSWORD, Party
from tests.live.faults.oracle import Shown, Threads, Watch
from tests.server import ROOT
from tests.until import until

PYTHON = [sys.executable, "-m"]
CLIENTS = "tests.live.faults.clients"
KINDS = {
    "httpx_sse": [*PYTHON, f"{CLIENTS}.with_httpx_sse"],
    "ld_eventsource": [*PYTHON, f"{CLIENTS}.with_ld_eventsource"],
    "eventsource": ["node", str(ROOT / "tests/live/faults/clients/with_eventsource.mjs")],
    "chromium": [*PYTHON, f"{CLIENTS}.with_chromium"],
    "raw": [*PYTHON, f"{CLIENTS}.raw"],
}
OUTSIDE = ("httpx_sse", "ld_eventsource", "eventsource", "chromium")
PAGE = 50  # messages that a page begins with
LOST = ("waiting", "offline", "signed_out", "resyncing")  # what a page says of itself without a stream


@dataclass
class Watcher:
    """One client: what it was shown, thread by thread, and every other event it told of, as {"t", "event", ...}."""

    kind: str
    name: str
    party: Party
    threads: frozenset[str]
    shown: dict[str, list[Shown]] = field(default_factory=dict)
    heard_at: dict[Shown, float] = field(default_factory=dict)  # Unix seconds
    events: list[dict[str, Any]] = field(default_factory=list)
    texts: set[str] = field(default_factory=set)  # all that it has ever heard
    looks: int = 0

    def take(self, told: dict[str, Any]) -> None:
        """Note what its process tells of it."""
        if told["event"] == "message":
            shown = (told["message"], told["text"])
            self.shown.setdefault(told["thread"], []).append(shown)
            self._hear(shown, told["t"])
        elif told["event"] == "state":
            self.shown[told["thread"]] = [(id, text) for id, text in told["shown"]]
            for shown in self.shown[told["thread"]]:
                self._hear(shown, told["t"])
            self.looks += 1
        else:
            self.events.append(told)

    def _hear(self, shown: Shown, at: float) -> None:
        self.heard_at.setdefault(shown, at)
        self.texts.add(shown[1])

    def named(self, *names: str) -> list[dict[str, Any]]:
        """The events of these names, oldest first."""
        return [told for told in self.events if told["event"] in names]

    @property
    def has_begun(self) -> bool:
        """Has it had a stream? From then on it misses nothing."""
        assert not self.named("failed", "pageerror"), self.named("failed", "pageerror")
        return bool(self.named("ready")) or self.is_connected

    @property
    def is_connected(self) -> bool:
        if self.kind == "chromium":
            states = self.named("status")
            return bool(states) and states[-1]["state"] == "connected"
        last = self.named("ready", "end")
        return bool(last) and last[-1]["event"] == "ready"

    @property
    def losses(self) -> list[dict[str, Any]]:
        """The ends of its streams, however they came about. Who was told nothing but a `bye` had none."""
        found, heard = [], set()
        for told in self.events:
            if told["event"] == "end" or told.get("state") in LOST:
                found += [] if heard == {"bye"} else [told]
                heard = set()
            heard |= {told["event"]} & {"ready", "bye"}
        return found

    @property
    def reconnects(self) -> list[float]:
        """How long it was without a stream each time it lost one and came back, in seconds."""
        lost, times = None, []
        for told in self.named("ready", "end", "status"):
            up = told["event"] == "ready" or told.get("state") == "connected"
            if up and lost is not None:
                times.append(told["t"] - lost)
            lost = None if up else lost if lost is not None else told["t"]
        return times

    def watch(self, drawn: Threads) -> Watch:
        """How the oracle sees it. A page shows the open thread's newest messages, and all that came since."""
        if self.kind == "chromium":
            return Watch(self.name, self.threads, self.shown, PAGE, drawn)
        return Watch(self.name, self.threads, self.shown)


class Crew:
    """The clients' processes, one for each kind, started when first needed and kept for the whole run."""

    def __init__(self) -> None:
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._watchers: dict[str, Watcher] = {}
        self._count = 0

    def start(self, kinds: Iterable[str] = KINDS) -> Crew:
        """Start these processes, without waiting for them."""
        for kind in kinds:
            if kind not in self._processes or self._processes[kind].poll() is not None:
                environ = {**os.environ, "NODE_PATH": str(ROOT / "tests/live/vendor")}
                self._processes[kind] = subprocess.Popen(
                    KINDS[kind], cwd=ROOT, env=environ, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
                )
                gevent.spawn(self._read, self._processes[kind])
        return self

    def stop(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()

    def watch(self, kind: str, url: str, party: Party, thread: str | None = None, **order: Any) -> Watcher:
        """Let a client of this kind watch all of a person's log, or one thread of it, from the party's cursor on."""
        self.start([kind])
        self._count += 1
        thread = thread or (party.threads[0] if kind == "chromium" else None)
        watcher = Watcher(kind, f"{kind} {self._count}", party, frozenset([thread] if thread else party.threads))
        self._watchers[watcher.name] = watcher
        path = f"/threads/{thread}/events" if thread else "/stream"
        order |= {"url": url, "path": path, "thread": thread, "token": party.token, "cursor": party.cursor}
        self._order(watcher, "watch", name=party.name, password=PASSWORD, **order)
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """Let it go away, in the middle of its stream."""
        if self._watchers.pop(watcher.name, None):
            self._order(watcher, "leave")

    def look(self, watcher: Watcher) -> None:
        """Ask a page what it shows now, and wait for it."""
        before = watcher.looks
        self._order(watcher, "look")
        until(lambda: watcher.looks > before, 20)

    def turn(self, watcher: Watcher, how: str) -> None:
        """Let a page be frozen, thawed, taken offline or online, left or come back to; wait until that is done."""
        before = len(watcher.named(how))
        self._order(watcher, how)
        until(lambda: len(watcher.named(how)) > before, 20)

    def _order(self, watcher: Watcher, do: str, **more: Any) -> None:
        process = self._processes[watcher.kind]
        assert process.stdin is not None
        process.stdin.write(json.dumps({"do": do, "who": watcher.name, **more}) + "\n")
        process.stdin.flush()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            told = json.loads(line)
            if watcher := self._watchers.get(told["who"]):
                watcher.take(told)
