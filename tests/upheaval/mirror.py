"""What a client holds that follows DESIGN 10 and nothing else: the page is held against it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from chat.native import PREVIEW
from chat.runs import OPEN

Shown = dict[str, Any]


@dataclass
class Listed:
    """A thread of the list: what the server said of it as of `rev`, and the messages heard after that."""

    shown: Shown
    rev: int
    unread: int
    unread_rev: int
    heard: dict[str, Shown] = field(default_factory=dict)

    def seen(self, messages: dict[str, Shown]) -> Shown:
        """As the list shows it. A message that is gone is not shown, and its place as the last said stays empty."""
        later = [message for message in self.heard.values() if message["seq"] > self.rev]
        last = max(later, key=lambda message: message["seq"], default=self.shown["last_message"])
        there = messages.get(last["id"]) if last else None
        unread = [id for id, each in self.heard.items() if each["seq"] > self.unread_rev and id in messages]
        return {
            "title": self.shown["title"],
            "agent": self.shown["agent"],
            "updated_at": max([self.shown["updated_at"], *(message["created_at"] for message in later)]),
            "last": there and there["text"][:PREVIEW],
            "unread": self.unread + sum(messages[id]["direction"] == "outgoing" for id in unread),
        }


class Mirror:
    """A snapshot and the events since. An event whose seq is not above the rev that is held changes nothing."""

    def __init__(self, threads: list[Shown], rooms: list[Shown], rev: int) -> None:
        """The list of threads as of `rev`, and the whole history of each of them that is still there."""
        self._gone: set[str] = set()
        self._threads = {each["id"]: Listed(each, rev, each["unread"], rev) for each in threads}
        self._messages = {each["id"]: each for room in rooms for each in room["items"]}
        self._runs = {each["id"]: each for room in rooms for each in room["runs"]}
        self._tips = {each["id"]: (rev, each["tip_id"]) for each in threads}

    def seen(self) -> Shown:
        """All that a person could be shown, by id."""
        return {
            "threads": {id: each.seen(self._messages) for id, each in self._threads.items()},
            "messages": self._messages,
            "tips": {id: self._tips[id][1] for id in self._threads},
            "runs": {id: run for id, run in self._runs.items() if run["message_id"] or run["status"] in OPEN},
        }

    def apply(self, kind: str, seq: int, data: Shown) -> None:
        change = data["change"]
        thread_id = data["id"] if kind == "thread" else data["thread_id"]
        if "tip_id" in data and seq >= self._tips.get(thread_id, (0, None))[0]:
            self._tips[thread_id] = (seq, data["tip_id"])
        data = {name: value for name, value in data.items() if name != "change"} | {"rev": max(seq, data.get("rev", 0))}
        if change == "deleted":
            self._forget(kind, data["id"])
        elif data.get("id") not in self._gone:
            getattr(self, f"_hear_{kind}")(data, data["rev"])

    def _hear_message(self, message: Shown, rev: int) -> None:
        message.pop("tip_id")
        keep_newer(self._messages, message)
        if thread := self._threads.get(message["thread_id"]):
            thread.heard[message["id"]] = message

    def _hear_run(self, run: Shown, rev: int) -> None:
        keep_newer(self._runs, run)

    def _hear_thread(self, shown: Shown, rev: int) -> None:
        held = self._threads.get(shown["id"])
        if held is None:
            self._threads[shown["id"]] = Listed(shown, rev, shown["unread"], rev)
        elif held.rev < rev:
            held.shown, held.rev = shown, rev
            self._hear_read({"thread_id": shown["id"], "unread": shown["unread"]}, rev)

    def _hear_read(self, read: Shown, rev: int) -> None:
        held = self._threads.get(read["thread_id"])
        if held and held.unread_rev < rev:
            held.unread, held.unread_rev = read["unread"], rev

    def _forget(self, kind: str, id: str) -> None:
        """Ids are never used again, so what is gone stays gone, with all that belongs to it."""
        if kind == "read":
            return
        self._gone.add(id)
        self._threads.pop(id, None)
        self._messages = without(self._messages, id, "thread_id")
        self._runs = without(self._runs, id, "thread_id", "message_id")


def keep_newer(held: dict[str, Shown], shown: Shown) -> None:
    if shown["id"] not in held or held[shown["id"]]["rev"] < shown["rev"]:
        held[shown["id"]] = shown


def without(held: dict[str, Shown], id: str, *owners: str) -> dict[str, Shown]:
    return {key: each for key, each in held.items() if id not in (key, *(each[owner] for owner in owners))}


def differing(held: Shown, fresh: Shown) -> list[Any]:
    """What is held, and what it should be, wherever the two differ."""
    pairs = [(held[name].get(id), fresh[name].get(id)) for name in fresh for id in {**held[name], **fresh[name]}]
    return [pair for pair in pairs if pair[0] != pair[1]]
