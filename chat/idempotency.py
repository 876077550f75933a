"""Doing a thing once, however often it is asked for: what was answered to a key is kept with what was done.

A key is never wider than its owner: a participant's client_id, an agent's webhook-id (DESIGN 4).
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from chat.errors import Conflict, Invalid
from chat.models import IdempotencyKey
from chat.store import put
from chat.text import storable

CLIENT_ID = 100  # characters

KEPT = select(IdempotencyKey.meaning, IdempotencyKey.body).where(
    IdempotencyKey.owner_id == bindparam("owner"), IdempotencyKey.key == bindparam("key")
)


def meaning_of(*parts: Any) -> str:
    """A digest of what a request means; two requests that mean the same have the same, whatever their bytes."""
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()


def check_client_id(client_id: str | None) -> None:
    """Raises Invalid."""
    if client_id is not None and not 0 < len(client_id) <= CLIENT_ID:
        raise Invalid("invalid", f"the client_id must have 1 to {CLIENT_ID} characters", "client_id")
    storable(client_id, "client_id")


def recall(session: Session, owner_id: str, key: str, meaning: str) -> dict[str, Any] | None:
    """What was answered to this key; None if it is new. Raises Conflict if it was used for another meaning."""
    kept = session.connection().execute(KEPT, {"owner": owner_id, "key": key}).first()
    if kept is None:
        return None
    if kept.meaning != meaning:
        raise Conflict("key_reused", "this key was used before with another content; use a new key for a new message")
    return dict(kept.body)


def remember(session: Session, owner_id: str, key: str, meaning: str, body: dict[str, Any]) -> None:
    """Keep the answer. The primary key refuses a second writer, whose transaction then runs again and recalls."""
    put(session, IdempotencyKey(owner_id=owner_id, key=key, meaning=meaning, body=body))
