"""Tokens and webhook secrets: made here, kept only as hashes or not at all."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets


def new_token(kind: str) -> str:
    """Make a bearer token of 256 random bits; `kind` tells a person who finds it what it is."""
    return f"{kind}_{secrets.token_urlsafe(32)}"


def hash_token(token: str) -> str:
    """Hash a token for storing. A plain SHA-256 is enough: 256 random bits cannot be guessed from it."""
    return hashlib.sha256(token.encode()).hexdigest()


def webhook_secret(secret_key: str, agent_id: str) -> str:
    """Derive an agent's webhook secret in Standard Webhooks' form, so that no table and no backup holds it."""
    digest = hmac.new(secret_key.encode(), f"webhook:{agent_id}".encode(), hashlib.sha256).digest()
    return "whsec_" + base64.b64encode(digest).decode()
