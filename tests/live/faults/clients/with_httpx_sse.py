"""Watchers by httpx-sse. It reads one connection; coming back by Last-Event-ID is left to its user, who writes this."""

from __future__ import annotations

import socket
from contextlib import suppress

import httpx
from httpx_sse import EventSource, connect_sse

from tests.live.faults.clients.common import SILENCE, Client, obey


class HttpxSse(Client):
    _source: EventSource | None = None

    def visit(self) -> None:
        headers = {**self.headers, "Last-Event-ID": self.cursor}
        with (
            httpx.Client(timeout=httpx.Timeout(10, read=SILENCE), trust_env=False) as http,
            connect_sse(http, "GET", self.url, headers=headers) as self._source,
        ):
            self._source.response.raise_for_status()
            self.tell("open")
            for sse in self._source.iter_sse():
                self.cursor = sse.id or self.cursor
                self.retry = sse.retry / 1000 if sse.retry is not None else None
                if sse.data and not self.hear(sse.event, sse.data, sse.id):
                    break

    def hang_up(self) -> None:
        if self._source is not None:
            connection = self._source.response.extensions["network_stream"].get_extra_info("socket")
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    obey(HttpxSse)
