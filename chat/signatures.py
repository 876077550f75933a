"""Webhook signatures by the Standard Webhooks specification (standardwebhooks.com, "Signature scheme"), no I/O.

The signed content is "{webhook-id}.{webhook-timestamp}.{body}" over the raw bytes of the body: JSON that was parsed
and written again is another text. Our own instead of the reference package, which raises on hostile headers and
accepts timestamps such as "1_614_265_330".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping

TOLERANCE = 300  # seconds either way
SIGNATURES = 10  # at most, in one header: an agent in the middle of a rotation sends two
TIMESTAMP = re.compile(r"[0-9]{1,12}")


def sign(secret: str, id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Make the three headers of a signed request. `secret` is in the form whsec_<base64>, `timestamp` in seconds."""
    signature = "v1," + base64.b64encode(mac(secret, id, str(timestamp), body)).decode()
    return {"webhook-id": id, "webhook-timestamp": str(timestamp), "webhook-signature": signature}


def is_fresh(headers: Mapping[str, str], now: float) -> bool:
    """Does the request claim to be signed within TOLERANCE of `now` (Unix seconds)? Answered without its body."""
    timestamp = headers.get("webhook-timestamp", "")
    complete = bool(headers.get("webhook-id") and headers.get("webhook-signature"))
    return complete and bool(TIMESTAMP.fullmatch(timestamp)) and abs(now - int(timestamp)) <= TOLERANCE


def verify(secret: str, headers: Mapping[str, str], body: bytes, now: float) -> bool:
    """Is this body signed with `secret`, for this id, within TOLERANCE of `now` (Unix seconds)?"""
    if not is_fresh(headers, now):
        return False
    expected = mac(secret, headers["webhook-id"], headers["webhook-timestamp"], body)
    return any(hmac.compare_digest(expected, given) for given in signatures(headers["webhook-signature"]))


def mac(secret: str, id: str, timestamp: str, body: bytes) -> bytes:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    # Header values are bytes that WSGI hands over as Latin-1.
    content = f"{id}.{timestamp}.".encode("latin-1", "replace") + body
    return hmac.new(key, content, hashlib.sha256).digest()


def signatures(header: str) -> list[bytes]:
    """The v1 signatures of the header, space separated; what is no base64 is passed over."""
    found = []
    for part in header.split(" ")[:SIGNATURES]:
        version, _, encoded = part.partition(",")
        if version == "v1" and encoded.isascii():
            found.append(decode(encoded))
    return found


def decode(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError:
        return b""
