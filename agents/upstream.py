"""Calling agents over HTTP: what may go wrong there, in words for the person who waits.

The words hold no secret, and nothing of these is logged but the kind of trouble: a server may quote the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2 as httpx
import msgspec

from agents.kind import Failed, NotAccepted

CONNECT = 5.0  # seconds
ANSWER = 20.0  # seconds for what is no stream
BODY = 64 * 1024  # bytes of it that are looked at
EVENT = 16 * 1024 * 1024  # bytes of one SSE event; LangGraph's hold whole states
TOO_LONG = re.compile(r"context.{0,20}(length|window|size)|maximum.{0,20}tokens|too (long|many tokens)", re.IGNORECASE)
LATER = (408, 409, 425, 429)  # and all from 500 on: the same question may be taken in a while


def client() -> httpx.Client:
    """For all agents of a worker. How long a stream may be silent is its reader's matter."""
    timeout = httpx.Timeout(CONNECT, read=None)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    return httpx.Client(timeout=timeout, limits=limits, trust_env=False, follow_redirects=False)


@contextmanager
def calling(whom: str) -> Iterator[None]:
    """Say in words what goes wrong with the connection. Raises NotAccepted, Failed for what will not change."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise NotAccepted("unreachable", f"The {whom} could not be reached.") from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise Failed(f"The {whom}'s address cannot be used.") from error
    except httpx.HTTPError as error:
        raise NotAccepted("broken", f"The connection to the {whom} broke off.") from error


def events(whom: str, response: httpx.Response) -> httpx.EventSource:
    """The events of an SSE body; httpx's `iter_lines` would end lines at U+2028 and the like, inside of JSON.

    Raises Failed for a body of another kind, as a wrong address has.
    """
    kind = response.headers.get("content-type", "nothing").partition(";")[0]
    if kind != "text/event-stream":
        raise Failed(f"The {whom} did not answer with events but with {kind}; is its address right?")
    response.encoding = "utf-8"
    return httpx.EventSource(response, max_event_size=EVENT)


def refusal(whom: str, response: httpx.Response) -> Exception:
    """Why it did not answer 2xx, to be raised: NotAccepted if it may take the question later, else Failed."""
    status = response.status_code
    said = brief(message_in(start_of(response)))  # in whatever of the usual shapes it comes
    if status in LATER or status >= 500:
        reason = "is overloaded, or its quota is used up" if status == 429 else "cannot answer now"
        return NotAccepted("refused", f"The {whom} {reason} (HTTP {status}).")
    if status in (401, 403):  # what it says quotes the key
        return Failed(f"The {whom} does not accept our key (HTTP {status}).")
    if TOO_LONG.search(said):
        return Failed(f"This conversation is too long for the {whom} (HTTP {status}).")
    return Failed(f"The {whom} refused the question (HTTP {status}){f': {said}' if said else ''}.")


def brief(text: str) -> str:
    return " ".join(text.split()).rstrip(".")


def start_of(response: httpx.Response) -> bytes:
    read = b""
    for piece in response.iter_bytes():
        read += piece
        if len(read) > BODY:
            break
    return read[:BODY]


def message_in(body: bytes) -> str:
    try:
        found: Any = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeError):
        return ""  # a page of HTML says nothing to a person
    while isinstance(found, dict):
        found = found.get("message") or found.get("error") or found.get("detail")
    return found if isinstance(found, str) else ""
