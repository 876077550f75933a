"""Many cheap streams of our own as load, in one process: raw sockets and greenlets. They tell what the others tell.

An order may say how long each stays with a stream before it leaves by itself, and how long it is away:
{"stay": [low, high], "pause": [low, high]}, in seconds.
"""

from gevent import monkey

monkey.patch_all()

import json
import random
import sys
import time
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

import gevent
from gevent.fileobject import FileObject

SILENCE = 40.0  # seconds
PAUSE = (0.1, 0.8)  # seconds, random, before coming back


class Raw:
    def __init__(self, order: dict[str, Any]) -> None:
        self.who, self._path, self._token, self._cursor = (order[name] for name in ("who", "path", "token", "cursor"))
        self._address = urlsplit(order["url"])
        self._stay, self._pause = order.get("stay"), order.get("pause") or PAUSE
        self._connection: HTTPConnection | None = None
        self._task = gevent.spawn(self._follow)

    def leave(self) -> None:
        self._task.kill()
        if self._connection is not None:
            self._connection.close()

    def _follow(self) -> None:
        while True:
            how, retry = self._visit()
            self._tell("end", how=how)
            if self._connection is not None:
                self._connection.close()
            gevent.sleep(retry or random.uniform(*self._pause))

    def _visit(self) -> tuple[str, float | None]:
        """Read one connection; how it ended, and how long the server asked us to be away, in seconds."""
        self._tell("knock")
        state = "unanswered"
        try:
            self._connection = HTTPConnection(self._address.hostname or "", self._address.port, timeout=SILENCE)
            headers = {"Authorization": f"Bearer {self._token}", "Last-Event-ID": self._cursor}
            self._connection.request("GET", self._path, headers={**headers, "Accept": "text/event-stream"})
            response = self._connection.getresponse()
            if response.status != 200:
                return f"HTTP {response.status}", None
            self._tell("open")
            state = "open"
            with gevent.Timeout(random.uniform(*self._stay) if self._stay else None, False):
                return "clean", self._read(response)
            return "left", None
        except (OSError, HTTPException, ValueError) as error:
            return f"cut while {state}: {type(error).__name__} {error}", None

    def _read(self, response: HTTPResponse) -> float | None:
        """Hear every whole frame. The server ends lines by LF alone, so a frame ends at the first empty one."""
        rest, retry = b"", None
        while chunk := response.read1(65536):
            *frames, rest = (rest + chunk).split(b"\n\n")
            for frame in frames:
                retry = self._hear(dict(line.split(": ", 1) for line in frame.decode().split("\n")))
        return retry

    def _hear(self, fields: dict[str, str]) -> float | None:
        body, name, id = json.loads(fields["data"]), fields.get("event", "message"), fields.get("id")
        self._cursor = id or self._cursor
        if name == "message":
            said = {"thread": body["thread_id"], "message": body["id"], "seq": body["seq"], "text": body["text"]}
            self._tell("message", id=id, **said, change=body.get("change"))
        else:
            self._tell(name, id=id, data=body)
        return int(fields["retry"]) / 1000 if "retry" in fields else None

    def _tell(self, event: str, **more: Any) -> None:
        sys.stdout.write(json.dumps({"who": self.who, "t": time.time(), "event": event, **more}) + "\n")
        sys.stdout.flush()


def main() -> None:
    streams: dict[str, Raw] = {}
    for line in FileObject(sys.stdin.buffer):
        order = json.loads(line)
        if order["do"] == "watch":
            streams[order["who"]] = Raw(order)
        elif order["do"] == "leave" and (stream := streams.pop(order["who"], None)):
            stream.leave()


if __name__ == "__main__":
    main()
