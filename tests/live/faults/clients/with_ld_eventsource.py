"""Watchers by launchdarkly-eventsource, which comes back by itself with Last-Event-ID."""

from __future__ import annotations

from contextlib import suppress

from ld_eventsource import SSEClient
from ld_eventsource.actions import Event, Fault, Start
from ld_eventsource.config import ConnectStrategy, ErrorStrategy, RetryDelayStrategy
from urllib3 import Timeout

from tests.live.faults.clients.common import SILENCE, Client, obey


class LdEventSource(Client):
    _client: SSEClient | None = None

    def visit(self) -> None:
        patience = {"timeout": Timeout(connect=5, read=SILENCE)}
        self._client = SSEClient(
            ConnectStrategy.http(self.url, self.headers, urllib3_request_options=patience),
            initial_retry_delay=0.5,
            # Its own default doubles the pause without an end.
            retry_delay_strategy=RetryDelayStrategy.default(max_delay=2, jitter_multiplier=0.5),
            error_strategy=ErrorStrategy.always_continue(),
            last_event_id=self.cursor,
        )
        for action in self._client.all:
            if isinstance(action, Start):
                self.tell("open")
            elif isinstance(action, Fault) and not self.left:
                self.tell("end", how=str(action.error or "clean")[:200])
            elif isinstance(action, Event) and not self.hear(action.event, action.data, action.id):
                break
            if self.left:
                break
        self._client.close()

    def hang_up(self) -> None:
        if self._client is not None:
            with suppress(Exception):  # whatever it is in the middle of
                self._client.close()


if __name__ == "__main__":
    obey(LdEventSource)
