"""What a webhook says: our own body and the run object that LangGraph Server really posts, read into one shape. No I/O.

LangGraph posts its run object plus `status`, `values` (absent without a checkpoint) and, on failure, a top-level
`error`; once, with no Content-Type (CONTRACTS, S2).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import msgspec

from chat.errors import Invalid
from chat.text import AGENT_TEXT, SURROGATE, check_length, convert, parse_json, storable

Kind = Literal["chat", "data", "handoff", "file", "reasoning", "tool", "notice"]

OURS = "backchannel_run_id"  # in a LangGraph run's metadata, if we began it: our own name for the run

# Said on the way to an answer: a run goes on after them.
PASSING = ("reasoning", "tool", "notice")


@dataclass(frozen=True)
class Answer:
    """What an agent said: `status` is success, error, timeout, waiting or running, `run_id` the agent's own word."""

    thread_id: str
    run_id: str | None
    status: str = "success"
    text: str = ""
    kind: str = "chat"
    data: dict[str, Any] | None = None
    error: str | None = None
    # LangGraph answers our question under a name of its own.
    names_its_runs: bool = field(default=False, compare=False)

    @property
    def is_final(self) -> bool:
        """Does it answer its run, or only say something on the way?"""
        return self.status == "waiting" or self.kind not in PASSING

    @property
    def is_numbered(self) -> bool:
        """May it come again without a key, and be known for the same?"""
        return self.run_id is not None and self.is_final

    @property
    def meaning(self) -> tuple[Any, ...]:
        """What makes two answers the same; senders change timestamps, so those do not count."""
        return self.status, self.text, self.kind, self.data, self.error


FAILURE = {"thread_id", "run_id", "status", "error"}
NO_ANSWER = ("error", "timeout", "interrupted")


class Said(msgspec.Struct):
    text: str = ""
    kind: Kind = "chat"
    data: dict[str, Any] | None = None


class NativeBody(msgspec.Struct):
    thread_id: str
    message: Said
    run_id: str | None = None


class LangGraphBody(msgspec.Struct):
    thread_id: str
    status: Literal["pending", "running", "success", "error", "timeout", "interrupted"]
    run_id: str
    values: Any = None
    error: Any = None
    metadata: Any = None


def parse_webhook(body: bytes) -> Any:
    """Decode a webhook's JSON. In LangGraph's, which is sent once, half an emoji is replaced instead of refused."""
    try:
        return parse_json(body)
    except Invalid:
        mended = parse_json(SURROGATE.sub(lambda found: found[1] or rb"\ufffd", body))
        if isinstance(mended, dict) and "message" not in mended:
            return mended
        raise


def read_answer(body: Any) -> Answer:
    """Read a webhook's decoded JSON. Raises Invalid that says what to send instead."""
    if not isinstance(body, dict):
        raise Invalid("invalid", "the body must be a JSON object with thread_id and message")
    if "message" in body and body.get("status") in NO_ANSWER:
        raise Invalid("invalid", "send a message, or a status that says how it failed, not both", "status")
    if "message" in body:
        return read_native(convert(body, NativeBody))
    if "status" in body:
        # A run object of LangGraph's says more than what an agent of one's own says of a failure.
        return replace(read_langgraph(convert(body, LangGraphBody)), names_its_runs=bool(body.keys() - FAILURE))
    raise Invalid("invalid", "the body needs a message {text, kind?, data?}, or LangGraph's status", "message")


def read_native(body: NativeBody) -> Answer:
    said = body.message
    if not said.text and said.data is None:
        raise Invalid("empty", "a message needs text or data", "message.text")
    check_length(said.text, AGENT_TEXT, "message.text", "bytes")
    storable(said.text, "message.text")
    storable(said.data, "message.data")
    check_length(msgspec.json.encode(said.data).decode(), AGENT_TEXT, "message.data", "bytes")
    return Answer(body.thread_id, named(body.run_id), text=said.text, kind=said.kind, data=said.data)


def read_langgraph(body: LangGraphBody) -> Answer:
    # Of a run that we began ourselves the name may not have come to us yet: what we wrote on it says whose it is.
    ours = body.metadata.get(OURS) if isinstance(body.metadata, dict) else None
    run_id = named(ours if isinstance(ours, str) else body.run_id)
    match body.status:
        case "success":
            return finished(body.thread_id, run_id, last_ai_text(body.values))
        case "interrupted":
            question = interrupt_text(body.values) or "The agent stopped and waits for a decision."
            return Answer(body.thread_id, run_id, "waiting", text=question, kind="notice")
        case "error":
            return Answer(body.thread_id, run_id, "error", error=error_text(body))
        case "timeout":
            return Answer(body.thread_id, run_id, "timeout", error="The agent did not finish in time.")
        case _:
            return Answer(body.thread_id, run_id, "running")


def finished(thread_id: str, run_id: str | None, text: str) -> Answer:
    if len(text.encode()) > AGENT_TEXT:
        limit = AGENT_TEXT // 1024
        return Answer(thread_id, run_id, "error", error=f"The agent's answer is longer than {limit} KiB.")
    if not text:
        return Answer(thread_id, run_id, "error", error="The agent finished without an answer.")
    return Answer(thread_id, run_id, text=clean(text))


def named(run_id: str | None) -> str | None:
    if run_id is not None and not 0 < len(run_id) <= 200:
        raise Invalid("invalid", "the run_id must have 1 to 200 characters", "run_id")
    return None if run_id is None else str(storable(run_id, "run_id"))


def clean(text: str) -> str:
    """LangGraph sends once and does not read our 400, so what cannot be stored is replaced instead of refused."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")


def last_ai_text(values: Any) -> str:
    """The text of the newest AI message; its content is a string or a list of parts."""
    messages = values.get("messages") if isinstance(values, dict) else None
    for message in reversed(messages if isinstance(messages, list) else []):
        if isinstance(message, dict) and message.get("type") in ("ai", "AIMessageChunk"):
            return text_of(message.get("content"))
    return ""


def text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part if isinstance(part, str) else part.get("text") for part in parts if isinstance(part, str | dict)]
    return "".join(text for text in texts if isinstance(text, str))


def interrupt_text(values: Any) -> str:
    interrupts = values.get("__interrupt__") if isinstance(values, dict) else None
    first = interrupts[0] if isinstance(interrupts, list) and interrupts else None
    value = first.get("value") if isinstance(first, dict) else None
    if isinstance(value, dict):
        value = next((value[key] for key in ("question", "message", "text") if key in value), value)
    return as_text(value)


def error_text(body: LangGraphBody) -> str:
    """The top-level error, else the one in the values, else a word for it."""
    inner = body.values.get("error") if isinstance(body.values, dict) else None
    return as_text(body.error) or as_text(inner) or "Unknown error"


def as_text(value: Any) -> str:
    if isinstance(value, dict) and isinstance(value.get("message"), str):
        value = value["message"]
    if value is None or isinstance(value, str):
        return cut(value or "")
    return cut(msgspec.json.encode(value).decode())


def cut(text: str) -> str:
    """As much of the text as an agent may say, in whole characters."""
    return clean(text).encode()[:AGENT_TEXT].decode(errors="ignore")
