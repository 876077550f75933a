"""What the Python clients share: the orders they take, what they tell, and what they do about a `reset`."""

from __future__ import annotations

import json
import random
import sys
import threading
import time
import urllib.request
from typing import Any

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
PAUSE = (0.2, 1.0)  # seconds, random, before coming back
SILENCE = 40.0  # seconds; pings come every 15
_telling = threading.Lock()


class Client(threading.Thread):
    """One watcher. A subclass reads one connection in `visit` and can be interrupted by `hang_up`."""

    def __init__(self, order: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self.who, self.token, self.cursor = order["who"], order["token"], order["cursor"]
        self.base, self.path = order["url"], order["path"]
        self.left = False
        self.stale = False
        self.retry: float | None = None  # seconds; what the server asked for with its last word
        self._floor: dict[str, int] = {}  # by thread: up to here a re-read has shown it

    @property
    def url(self) -> str:
        return self.base + self.path

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def run(self) -> None:
        while not self.left:
            try:
                self.visit()
                self.tell("end", how="clean")
            except Exception as error:  # whatever its library raises, its user would try again
                self.tell("end", how=f"{type(error).__name__}: {error}"[:200])
            if self.stale:
                self._reread_until_it_works()
            elif not self.left:
                time.sleep(self.retry or random.uniform(*PAUSE))

    def visit(self) -> None:
        """Open one connection and `hear` until it ends; return if it ended cleanly, raise if not."""
        raise NotImplementedError

    def hang_up(self) -> None:
        """End `visit`, from another thread."""

    def leave(self) -> None:
        self.left = True
        self.hang_up()

    def hear(self, event: str, data: str, id: str | None) -> bool:
        """Tell of one event; False if the connection is of no more use."""
        body = json.loads(data)
        if event == "reset":
            self.stale = True
        if event == "message":
            if body["seq"] > self._floor.get(body["thread_id"], 0):
                self._tell_message(body, id)
        else:
            self.tell(event, id=id, data=body)
        return not (self.stale or self.left)

    def tell(self, event: str, **more: Any) -> None:
        line = json.dumps({"who": self.who, "t": time.time(), "event": event, **more})
        with _telling:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    def _tell_message(self, body: dict[str, Any], id: str | None) -> None:
        said = {"thread": body["thread_id"], "message": body["id"], "seq": body["seq"], "text": body["text"]}
        self.tell("message", id=id, **said, change=body.get("change"))

    # A reset says that what we hold cannot be continued: read all anew; its cursor is the first answer's, the oldest.

    def _reread_until_it_works(self) -> None:
        while self.stale and not self.left:
            try:
                self.cursor = self._reread()
                self.stale = False
            except (OSError, ValueError) as error:
                self.tell("end", how=f"cannot re-read: {error}")
                time.sleep(random.uniform(*PAUSE))

    def _reread(self) -> str:
        page = self._get("/threads")
        for thread in page["items"]:
            if self.path == "/stream" or thread["id"] in self.path:
                self._reread_thread(thread["id"])
        return str(page["cursor"])

    def _reread_thread(self, thread_id: str) -> None:
        items: list[dict[str, Any]] = []
        after: int | None = 0
        while after is not None:
            page = self._get(f"/threads/{thread_id}/messages?after={after}&limit=200")
            items += page["items"]
            after = page["next"]
        self._floor[thread_id] = max((item["seq"] for item in items), default=0)
        self.tell("state", thread=thread_id, shown=[(item["id"], item["text"]) for item in items])

    def _get(self, path: str) -> Any:
        with OPENER.open(urllib.request.Request(self.base + path, headers=self.headers), timeout=10) as answer:
            return json.load(answer)


def obey(kind: type[Client]) -> None:
    """Take orders until standard input ends, with whoever gave them."""
    clients: dict[str, Client] = {}
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "watch":
            clients[order["who"]] = kind(order)
            clients[order["who"]].start()
        elif order["do"] == "leave" and (client := clients.pop(order["who"], None)):
            client.leave()
