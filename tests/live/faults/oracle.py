"""The oracle: compares what was acknowledged, what is stored and what every watcher was shown. Pure: no I/O, no clock.

A thing said is known by its text, which is unique to its key; a message by its id and its text together, so that a
damaged text is a missing message and a foreign one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

Shown = tuple[str, str]  # a message's id and text
Threads = Mapping[str, Sequence[Shown]]  # by thread, in the order stored or shown


@dataclass(frozen=True)
class Said:
    """One request: in which thread, with which text, and whether a 2xx came for it."""

    thread: str
    text: str
    acknowledged: bool


@dataclass(frozen=True)
class Watch:
    """What one watcher was shown.

    A page begins with the `newest` messages only, and draws them in an order of its own: a question stands below the
    answer that it had to wait for.
    """

    name: str
    threads: frozenset[str]
    shown: Threads
    newest: int | None = None
    order: Threads | None = None


@dataclass
class Verdict:
    """What is wrong, one line each. All four are empty when the promise was kept."""

    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    inverted: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def __iadd__(self, other: Verdict) -> Verdict:
        for name in ("lost", "duplicated", "inverted", "foreign"):
            getattr(self, name).extend(getattr(other, name))
        return self

    @property
    def lines(self) -> list[str]:
        return [f"{name}: {line}" for name, lines in vars(self).items() for line in lines]


def judge(said: Iterable[Said], stored: Threads, watches: Iterable[Watch]) -> Verdict:
    """Hold the database to the acknowledgements, and every watcher to the database."""
    verdict = judge_stored(list(said), stored)
    for watch in watches:
        for thread in sorted(set(watch.shown) - watch.threads):
            if watch.shown[thread]:
                verdict.foreign.append(f"{watch.name} was shown thread {thread}, which it may not see")
        for thread in sorted(watch.threads):
            verdict += judge_watch(watch, thread, stored.get(thread, ()))
    return verdict


def judge_stored(said: list[Said], stored: Threads) -> Verdict:
    """(a) each 2xx is in the database once; (c) nothing unacknowledged is there twice; and nothing that nobody said."""
    verdict = Verdict()
    texts = {thread: Counter(text for _, text in rows) for thread, rows in stored.items()}
    for thing in said:
        times = texts.get(thing.thread, Counter()).pop(thing.text, 0)
        if thing.acknowledged and times == 0:
            verdict.lost.append(f"{thing.text!r} was acknowledged and is not stored in {thing.thread}")
        if times > 1:
            verdict.duplicated.append(f"{thing.text!r} is stored {times} times in {thing.thread}")
    for thread, rest in texts.items():
        verdict.foreign += [f"{text!r} is stored in {thread}, and nobody said it there" for text in rest]
    return verdict


def judge_watch(watch: Watch, thread: str, stored: Sequence[Shown]) -> Verdict:
    """(b) what a watcher was shown of a thread equals what is stored: no missing, no extra, same order."""
    verdict, shown = Verdict(), list(watch.shown.get(thread, ()))
    if watch.newest is not None:
        stored = stored[-max(len(shown), min(len(stored), watch.newest)) :]
    place = {message: number for number, message in enumerate((watch.order or {}).get(thread, stored))}
    times = Counter(shown)
    where = f"{watch.name}, thread {thread}:"
    verdict.lost += [f"{where} {message} was never shown" for message in stored if not times[message]]
    verdict.duplicated += [f"{where} {message} was shown {n} times" for message, n in times.items() if n > 1]
    verdict.foreign += [f"{where} {message} is not stored" for message in times if message not in stored]
    once = [message for message in dict.fromkeys(shown) if message in stored]
    verdict.inverted += [f"{where} {b} came after {a}" for a, b in pairwise(once) if place[b] < place[a]]
    assert verdict.lines or shown == sorted(stored, key=place.__getitem__), "the oracle overlooked a difference"
    return verdict
