"""Hints between workers by Redis pub/sub. They may be lost, late, doubled or mixed up: only speed depends on them."""

from __future__ import annotations

import logging
from collections.abc import Callable

import gevent
import msgspec
from gevent.event import Event as Flag

from realtime.broker_url import links_to
from realtime.clock import stamp
from realtime.event import Event
from realtime.listener import Listener
from realtime.publisher import Publisher

logger = logging.getLogger(__name__)

Heard = Callable[[str, str, Event], None]
Passing = Callable[[str, Event], None]


class Ring(msgspec.Struct):
    """A hint on the wire: this happened in that life of the log. What has no place in the log has seq 0."""

    epoch: str
    seq: int
    kind: str
    thread_id: str
    data: msgspec.Raw
    at: str = ""


class Word(msgspec.Struct, omit_defaults=True):
    """A word to all workers: end the streams of a grant, those of a page but the newest, or the writing of a run."""

    kick: str = ""
    page: str = ""
    opened_ms: int = 0
    run: str = ""


class Bus:
    """This worker's end of the pub/sub.

    `on_ring(log, epoch, event)`, `on_passing(log, event)` for what stands in no log, `on_kick(grant)`,
    `on_page(page, opened_ms)` and `on_run(run_id)` are called by greenlets that listen, so they must not wait;
    `on_gap()` whenever hints may have been missed, once for all of them. `commands()` is a client for keys on the same
    broker.
    """

    def __init__(self, url: str, prefix: str = "") -> None:
        self.on_ring: Heard = lambda log, epoch, event: None
        self.on_passing: Passing = lambda log, event: None
        self.on_kick: Callable[[str], None] = lambda grant: None
        self.on_page: Callable[[str, int], None] = lambda page, opened_ms: None
        self.on_run: Callable[[str], None] = lambda run_id: None
        self.on_gap: Callable[[], None] = lambda: None
        self.links = links_to(url)
        self.commands = self.links.client
        self._prefix = prefix
        self._confirmed: dict[str, Flag] = {}  # by channel, of all the logs we want to hear
        probes = f"{prefix}probe:"
        self._publisher = Publisher(self.links, probes)
        self._listener = Listener(self.links, self._control, probes, self._publisher.say, self._confirmed)
        self._listener.on_said = self._take
        self._listener.on_gap = lambda: self.on_gap()
        self._decode_ring = msgspec.json.Decoder(Ring).decode

    def start(self) -> None:
        for task in (self._publisher.run, self._listener.run):
            gevent.spawn(task)

    def ring(self, log: str, epoch: str, event: Event) -> None:
        """Tell every worker of a committed event. Never waits; drops the hint if too many are waiting."""
        ring = Ring(epoch, event.seq, event.kind, event.thread_id, event.data, stamp())
        self._publisher.say(self._channel(log), msgspec.json.encode(ring))

    def kick(self, grant: str) -> None:
        """Ask every worker to end the streams opened by this grant."""
        self._publisher.say(self._control, msgspec.json.encode(Word(kick=grant)))

    def turn_page(self, page: str, opened_ms: int) -> None:
        """Ask every worker to end the streams of this page that were opened before."""
        self._publisher.say(self._control, msgspec.json.encode(Word(page=page, opened_ms=opened_ms)))

    def end_run(self, run_id: str) -> None:
        """Tell every worker that whatever is still written for this run is not wanted."""
        self._publisher.say(self._control, msgspec.json.encode(Word(run=run_id)))

    def listen(self, log: str) -> Flag:
        """Hear of a log from now on. The flag returned is set while the broker has confirmed it."""
        channel = self._channel(log)
        if channel not in self._confirmed:
            self._confirmed[channel] = Flag()
            self._listener.want(channel)
        return self._confirmed[channel]

    def unlisten(self, log: str) -> None:
        channel = self._channel(log)
        if self._confirmed.pop(channel, None):
            self._listener.let_go(channel)

    @property
    def healthy(self) -> bool:
        """Hints come and go, as far as we know."""
        return self.hearing and self.publishing

    @property
    def hearing(self) -> bool:
        return self._listener.healthy

    @property
    def publishing(self) -> bool:
        return self._publisher.healthy

    # Counted since the start.

    @property
    def reconnects(self) -> int:
        return self._listener.reconnects

    @property
    def probe_failures(self) -> int:
        return self._listener.probe_failures

    @property
    def published(self) -> int:
        return self._publisher.published

    @property
    def dropped(self) -> int:
        return self._publisher.dropped

    def _channel(self, log: str) -> str:
        return f"{self._prefix}sse:{{{log}}}"  # braces: a cluster's hash tag

    @property
    def _control(self) -> str:
        return f"{self._prefix}control"

    def _take(self, channel: str, said: bytes) -> None:
        try:
            if channel == self._control:
                self._take_word(msgspec.json.decode(said, type=Word))
            elif channel in self._confirmed:
                ring = self._decode_ring(said)
                log = channel[len(self._prefix) + len("sse:{") : -1]
                event = Event(ring.seq, ring.kind, ring.thread_id, ring.data, ring.at)
                if event.seq:
                    self.on_ring(log, ring.epoch, event)
                else:
                    self.on_passing(log, event)
        except msgspec.MsgspecError:
            logger.warning("passed over a malformed hint on %s", channel)

    def _take_word(self, word: Word) -> None:
        if word.kick:
            self.on_kick(word.kick)
        if word.page:
            self.on_page(word.page, word.opened_ms)
        if word.run:
            self.on_run(word.run)
