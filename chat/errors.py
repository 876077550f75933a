"""What can be wrong with a request, by whose fault."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any


class ChatError(Exception):
    """Base of all below. `code` is for programs, `message` says what was wrong and what would be right."""

    status = 400  # of HTTP: doors answer it, the ledger of deliveries keeps it
    more: Mapping[str, Any] = MappingProxyType({})  # what the answer holds beside the error

    def __init__(self, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.code, self.field = code, field
        self.message = f"{message[:1].upper()}{message[1:]}."  # a sentence: the page shows it to a person


class Invalid(ChatError):
    """The request says something that cannot be; `field` names where."""


class NotFound(ChatError):
    """It does not exist, or is not yours: the two look the same."""

    status = 404


class Conflict(ChatError):
    """It contradicts what has already happened."""

    status = 409
