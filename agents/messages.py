"""What a LangGraph run says in its stream: LangChain's messages, piece by piece, as our events.

Source: the stream mode `messages-tuple` of the LangGraph Server, whose events hold [message or chunk, metadata], and
LangChain's `AIMessageChunk` and `ToolMessage`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from agents.kind import Failed
from agents.upstream import brief, message_in
from chat.answers import text_of
from chat.events import Metadata, Reasoning, Said, Token, Tool, Usage

TOLD = 4000  # characters of a tool's input or output
SPOKEN = ("AIMessageChunk", "ai")
THOUGHTS = {"reasoning": "reasoning", "thinking": "thinking"}  # kinds of parts, and where in them the words are


class Heard:
    """What has come until now; `event` takes the next and yields what it says. `nodes`: whose words count, or all."""

    def __init__(self, nodes: frozenset[str] = frozenset()) -> None:
        self._nodes = nodes
        self.text = ""
        self.values: dict[str, Any] | None = None  # the newest state
        self.is_interrupted = False
        self._message = ""  # the id of the one that speaks
        self._calls: dict[str, tuple[str, str]] = {}  # a tool's name and its input until now, by the call's id
        self._places: dict[Any, str] = {}  # the call's id by its message and index: only its first piece tells it
        self._usage: dict[str, int] = {}
        self._model: str | None = None

    def event(self, kind: str, data: Any) -> Iterator[Said]:
        if kind == "error":
            said = brief(message_in(msgspec.json.encode(data)))
            raise Failed(f"The graph failed{f': {said}' if said else ''}.")
        if kind == "values" and isinstance(data, dict):
            self.values = {**(self.values or {}), **data}
            self.is_interrupted = bool(data.get("__interrupt__"))
        elif kind == "messages" and isinstance(data, list) and len(data) == 2:
            yield from self._hear(*data)

    def costs(self) -> Iterator[Said]:
        if self._usage or self._model:
            yield Metadata(model=self._model, usage=Usage(**self._usage) if self._usage else None)

    def _hear(self, message: dict[str, Any], about: dict[str, Any]) -> Iterator[Said]:
        if message.get("type") == "tool":
            yield self._tool_ended(message)
        elif message.get("type") in SPOKEN:
            self._count(message)
            if not self._nodes or about.get("langgraph_node") in self._nodes:
                yield from self._words(message)
            yield from self._tools_called(message)

    def _words(self, message: dict[str, Any]) -> Iterator[Said]:
        if thought := thought_of(message):
            yield Reasoning(thought)
        if text := text_of(message.get("content")):
            gap = "\n\n" if self.text and message.get("id") != self._message else ""
            self._message = message.get("id") or ""
            self.text += gap + text
            yield Token(gap + text)

    def _tools_called(self, message: dict[str, Any]) -> Iterator[Said]:
        """Calls come in pieces, the first of which names the tool; a message that was not streamed has them whole."""
        for piece in message.get("tool_call_chunks") or ():
            place = (message.get("id"), piece.get("index"))
            if piece.get("id") and piece.get("name"):
                self._places[place] = piece["id"]
                yield self._called(piece["id"], piece["name"])
            if (id := self._places.get(place)) in self._calls:
                name, told = self._calls[id]
                self._calls[id] = name, told + (piece.get("args") or "")
        if message.get("type") == "ai":
            for call in message.get("tool_calls") or ():
                yield self._called(call["id"], call["name"], msgspec.json.encode(call.get("args")).decode())

    def _called(self, id: str, name: str, told: str = "") -> Tool:
        self._calls[id] = name, told
        return Tool(name[:200], id[:200], "running")

    def _tool_ended(self, message: dict[str, Any]) -> Tool:
        id = message.get("tool_call_id") or ""
        name, told = self._calls.pop(id, (message.get("name") or "tool", ""))
        status = "error" if message.get("status") == "error" else "success"
        output = text_of(message.get("content"))[:TOLD]
        return Tool(name[:200], id[:200], status, input=told[:TOLD] or None, output=output)  # type: ignore[arg-type]

    def _count(self, message: dict[str, Any]) -> None:
        for name, number in (message.get("usage_metadata") or {}).items():
            if name in Usage.__struct_fields__ and isinstance(number, int):
                self._usage[name] = self._usage.get(name, 0) + number
        about = message.get("response_metadata") or {}
        self._model = about.get("model_name") or about.get("model") or self._model


def thought_of(message: dict[str, Any]) -> str:
    """What it thinks before it answers: a part of the content, or beside it, as models have it."""
    content = message.get("content")
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    texts = [part.get(THOUGHTS[part["type"]]) for part in parts if part.get("type") in THOUGHTS]
    texts.append((message.get("additional_kwargs") or {}).get("reasoning_content"))
    return "".join(text for text in texts if isinstance(text, str))
