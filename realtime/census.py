"""How many streams each user has open, over all workers: so that one user cannot take them all (DESIGN 7).

A sorted set per user in the broker: a member for each open stream, its score when it is to be forgotten. That is in the
broker's own time, so that no worker's clock counts. Workers renew what is open; streams of a worker that died expire.
While the broker is away each worker counts its own: the cap is then one of each worker.
"""

from __future__ import annotations

import logging
import random
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from typing import Protocol

import gevent
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

FORGET = 15  # seconds after which a stream that nobody renews is forgotten: its worker has died
RENEW = 5.0  # seconds between renewals
BREAK = 2.0  # seconds without asking after a failure: hundreds of joining streams must not wait for each its own

EXPIRE = "redis.call('EXPIRE', KEYS[1], ARGV[1])"

ADMIT = f"""
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if not redis.call('ZSCORE', KEYS[1], ARGV[3]) and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[3])
{EXPIRE}
return 1
"""

HOLD = f"""
local now = tonumber(redis.call('TIME')[1])
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[i]) end
{EXPIRE}
"""


class Counted(Protocol):
    """An open stream: whose it is, and what it is counted as. A page's new stream counts as its old one did."""

    owner: str

    @property
    def member(self) -> str: ...


class Commands(Protocol):
    """The part of redis-py's clients that is needed; `eval` must fail within a second, not retry."""

    def eval(self, script: str, numkeys: int, *keys_and_args: str | int) -> object: ...
    def zrem(self, name: str, *values: str) -> object: ...


class Census:
    """`most` streams a user; 0: no limit. `commands` gives the client, `prefix` stands before every key."""

    def __init__(self, commands: Callable[[], Commands], prefix: str, most: int) -> None:
        self.most = most
        self._commands = commands
        self._prefix = prefix
        self._away_until = 0.0

    def admits(self, stream: Counted, here: Iterable[Counted]) -> bool:
        """Count a stream that is about to open, and say whether it may; `here` are those open in this worker."""
        if not self.most:
            return True
        others = {other.member for other in here if other.owner == stream.owner} - {stream.member}
        if len(others) >= self.most:
            return False
        return self._ask(ADMIT, stream.owner, self.most, stream.member) != 0

    def forget(self, stream: Counted) -> None:
        """A stream has ended. Returns at once."""
        if self.most and not self._is_away:
            gevent.spawn(self._forget, stream.owner, stream.member)

    def renew_for_ever(self, here: Collection[Counted]) -> None:
        """Say again and again that these are open still. `here` changes meanwhile."""
        while True:
            gevent.sleep(RENEW * random.uniform(0.8, 1.2))
            try:
                self.renew(here)
            except Exception:
                logger.exception("cannot say which streams are open; the next round tries again")

    def renew(self, here: Collection[Counted]) -> None:
        """Say that these are open still, one user after another: that may take a while, and some end meanwhile."""
        owned: dict[str, list[Counted]] = defaultdict(list)
        for stream in here if self.most else ():
            owned[stream.owner].append(stream)
        for owner, streams in owned.items():
            if members := {stream.member for stream in streams if stream in here}:
                self._ask(HOLD, owner, *members)

    @property
    def _is_away(self) -> bool:
        return time.monotonic() < self._away_until

    def _key(self, owner: str) -> str:
        return f"{self._prefix}streams:{{{owner}}}"

    def _ask(self, script: str, owner: str, *arguments: str | int) -> object:
        """Run a script for one user; None while the broker is away."""
        if self._is_away:
            return None
        try:
            return self._commands().eval(script, 1, self._key(owner), FORGET, *arguments)
        except (RedisError, OSError) as error:
            self._lose(error)
            return None

    def _forget(self, owner: str, member: str) -> None:
        try:
            self._commands().zrem(self._key(owner), member)
        except (RedisError, OSError) as error:
            self._lose(error)

    def _lose(self, error: Exception) -> None:
        if not self._is_away:
            logger.warning("cannot count streams over all workers, counting our own: %s", error)
        self._away_until = time.monotonic() + BREAK
