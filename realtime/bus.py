"""Hints between workers by Redis pub/sub. They may be lost, late, doubled or mixed up: only speed depends on them.

We own the connection: redis-py's PubSub reconnects by itself and says nothing of what was missed meanwhile, so the
listener uses a bare connection and tells of every new subscription.
"""

from __future__ import annotations

import logging
import random
import secrets
import time
from collections.abc import Callable, Iterable
from functools import cache

import gevent
import msgspec
from gevent.event import Event as Flag
from gevent.lock import BoundedSemaphore
from gevent.queue import Full, Queue
from redis import Redis
from redis.backoff import NoBackoff
from redis.connection import Connection
from redis.exceptions import RedisError
from redis.retry import Retry

from realtime.clock import stamp
from realtime.event import Event

logger = logging.getLogger(__name__)

TIMEOUT = 0.5  # seconds for anything asked of the broker: a hint is not worth waiting for
QUEUED = 10_000  # hints waiting to be published; more are dropped
BATCH = 100  # hints in one write
BREAK = 1.0  # seconds without publishing after a failure
QUIET = 10.0  # seconds without a word before the connection is probed
ANSWER = 2.0  # seconds a probe may take

Heard = Callable[[str, str, Event], None]


class Ring(msgspec.Struct):
    """A hint on the wire: this happened in that life of the log."""

    epoch: str
    seq: int
    kind: str
    thread_id: str
    data: msgspec.Raw
    at: str = ""


class Word(msgspec.Struct, omit_defaults=True):
    """A word to all workers: end the streams of a grant, or those of a page but the newest, or a probe of the way."""

    kick: str = ""
    page: str = ""
    opened_ms: int = 0
    probe: str = ""


class Bus:
    """This worker's end of the pub/sub.

    `on_ring(log, epoch, event)`, `on_kick(grant)` and `on_page(page, opened_ms)` are called by the listener greenlet,
    so they must not wait; `on_gap()` whenever hints may have been missed.
    """

    def __init__(self, url: str, prefix: str = "") -> None:
        self.on_ring: Heard = lambda log, epoch, event: None
        self.on_kick: Callable[[str], None] = lambda grant: None
        self.on_page: Callable[[str, int], None] = lambda page, opened_ms: None
        self.on_gap: Callable[[], None] = lambda: None
        self.healthy = False
        self.reconnects = self.probe_failures = self.published = self.dropped = 0
        self._prefix = prefix
        self._publisher = client(url, timeout=TIMEOUT)
        self.commands = cache(lambda: client(url, timeout=TIMEOUT))
        self._connect = connector(url)
        self._queue: Queue[tuple[str, bytes]] = Queue(QUEUED)
        self._confirmed: dict[str, Flag] = {}  # by channel, of all we want to hear
        self._connection: Connection | None = None
        self._sending = BoundedSemaphore()
        self._told = False  # of the broker's loss: once is enough
        self._last_heard = 0.0
        self._probe = secrets.token_hex(8)
        self._decode_ring = msgspec.json.Decoder(Ring).decode

    def start(self) -> None:
        for task in (self._publish, self._listen, self._watch):
            gevent.spawn(task)

    def ring(self, log: str, epoch: str, event: Event) -> None:
        """Tell every worker of a committed event. Never waits; drops the hint if too many are waiting."""
        ring = Ring(epoch, event.seq, event.kind, event.thread_id, event.data, stamp())
        self._say(self._channel(log), ring)

    def kick(self, grant: str) -> None:
        """Ask every worker to end the streams opened by this grant."""
        self._say(self._control, Word(kick=grant))

    def turn_page(self, page: str, opened_ms: int) -> None:
        """Ask every worker to end the streams of this page that were opened before."""
        self._say(self._control, Word(page=page, opened_ms=opened_ms))

    def listen(self, log: str) -> Flag:
        """Hear of a log from now on. The flag returned is set while the broker has confirmed it."""
        channel = self._channel(log)
        if channel not in self._confirmed:
            self._confirmed[channel] = Flag()
            self._send("SUBSCRIBE", [channel])
        return self._confirmed[channel]

    def unlisten(self, log: str) -> None:
        channel = self._channel(log)
        if self._confirmed.pop(channel, None):
            self._send("UNSUBSCRIBE", [channel])

    def _channel(self, log: str) -> str:
        return f"{self._prefix}sse:{{{log}}}"  # braces: a cluster's hash tag

    @property
    def _control(self) -> str:
        return f"{self._prefix}control"

    # Saying

    def _say(self, channel: str, said: Ring | Word) -> None:
        try:
            self._queue.put_nowait((channel, msgspec.json.encode(said)))
        except Full:
            self.dropped += 1
            logger.warning("the bus is %d hints behind; dropping one", QUEUED)

    def _publish(self) -> None:
        while True:
            batch = [self._queue.get()]
            while len(batch) < BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            try:
                self._publish_batch(batch)
                self.published += len(batch)
            except Exception as error:  # whatever it was, the next hint may get through
                self.dropped += len(batch)
                logger.warning("cannot publish: %s", error)
                gevent.sleep(BREAK)  # the breaker: hints queue up meanwhile, and the tick finds what they say

    def _publish_batch(self, batch: Iterable[tuple[str, bytes]]) -> None:
        pipeline = self._publisher.pipeline(transaction=False)
        for channel, said in batch:
            pipeline.publish(channel, said)
        pipeline.execute()

    # Hearing

    def _listen(self) -> None:
        while True:
            try:
                self._hear()
            except Exception as error:  # whatever it was, there is one answer: connect anew
                if not self._told:
                    logger.warning("lost the broker, trying to come back: %s", error)
                self._told = True
            self._disconnected()
            self.reconnects += 1
            gevent.sleep(random.uniform(0.1, 1.0))

    def _hear(self) -> None:
        connection = self._connect()
        connection.connect()
        self._connection = connection
        self._last_heard = time.monotonic()
        self._send("SUBSCRIBE", [self._control, *self._confirmed])
        while True:
            kind, channel, said = connection.read_response(timeout=None)
            self._last_heard = time.monotonic()
            if kind == b"message":
                self._take(channel.decode(), said)
            elif kind == b"subscribe":
                self._subscribed(channel.decode())
            elif channel.decode() in self._confirmed:  # unsubscribed, but wanted again since
                self._send("SUBSCRIBE", [channel.decode()])

    def _take(self, channel: str, said: bytes) -> None:
        try:
            if channel == self._control:
                self._take_word(msgspec.json.decode(said, type=Word))
            else:
                ring = self._decode_ring(said)
                log = channel[len(self._prefix) + len("sse:{") : -1]
                self.on_ring(log, ring.epoch, Event(ring.seq, ring.kind, ring.thread_id, ring.data, ring.at))
        except msgspec.MsgspecError:
            logger.warning("passed over a malformed hint on %s", channel)

    def _take_word(self, word: Word) -> None:
        if word.kick:
            self.on_kick(word.kick)
        if word.page:
            self.on_page(word.page, word.opened_ms)
        if word.probe == self._probe:
            self.healthy = True

    def _subscribed(self, channel: str) -> None:
        if channel == self._control:
            self.healthy, self._told = True, False
            logger.info("hearing the broker")
            self.on_gap()  # a new connection: what was said before it was not heard
        elif flag := self._confirmed.get(channel):
            if flag.is_set():
                self.on_gap()
            flag.set()

    def _send(self, command: str, channels: list[str]) -> None:
        """Send while the listener reads. If it fails, the listener meets the same end and subscribes anew."""
        connection = self._connection
        if connection is None:
            return
        try:
            with gevent.Timeout(TIMEOUT), self._sending:
                connection.send_command(command, *channels, check_health=False)
        except (RedisError, OSError, gevent.Timeout):
            connection.disconnect()  # a command sent by half would spoil all that follow

    def _disconnected(self) -> None:
        self.healthy = False
        if self._connection is not None:
            self._connection.disconnect()
            self._connection = None
        for flag in self._confirmed.values():
            flag.clear()

    # A connection may be dead without knowing it: no reset ever comes from a machine that vanished.

    def _watch(self) -> None:
        while True:
            gevent.sleep(1)
            if self._connection is not None and time.monotonic() - self._last_heard > QUIET:
                self._probe_once(self._connection)

    def _probe_once(self, connection: Connection) -> None:
        asked = time.monotonic()
        self._say(self._control, Word(probe=self._probe))
        gevent.sleep(ANSWER)
        if self._last_heard < asked and self._connection is connection:
            self.probe_failures += 1
            logger.warning("the broker is silent; connecting anew")
            self.healthy = False
            connection.disconnect()


def client(url: str, timeout: float | None) -> Redis:
    """A client that fails at once instead of retrying (redis-py 8 retries ten times by itself)."""
    return Redis.from_url(
        url,
        protocol=2,  # replies of a subscribed connection are then plain lists
        socket_timeout=timeout,
        socket_connect_timeout=TIMEOUT,
        retry=Retry(NoBackoff(), 0),
        max_connections=4,
    )


def connector(url: str) -> Callable[[], Connection]:
    """Make connections that wait for ever for the next word."""
    pool = client(url, timeout=None).connection_pool
    return lambda: pool.connection_class(**pool.connection_kwargs)
