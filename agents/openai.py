"""Asks any OpenAI-compatible endpoint (vLLM, Ollama, a cloud) and passes on what it says as it says it.

Source: the OpenAI API reference, "Create chat completion" and "The chat completion chunk object"
(https://platform.openai.com/docs/api-reference/chat-streaming). `reasoning_content` is what vLLM and others call the
words that a model thinks before it answers, `reasoning` what Ollama does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

import httpx2 as httpx
import msgspec
from msgspec import Meta, field

from agents.kind import Asked, Failed, Kind, NotAccepted, Text
from agents.upstream import brief, calling, events, message_in, refusal
from chat.events import Error, Metadata, Reasoning, Said, Token, Usage

Role = Literal["user", "assistant", "system"]


class Words(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class Choice(msgspec.Struct):
    delta: Words | None = None
    finish_reason: str | None = None


class Tokens(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None


class Chunk(msgspec.Struct):
    """Of a chunk what is told here. Some servers leave out, or send as null, what they have nothing for."""

    model: str | None = None
    choices: list[Choice] | None = None
    usage: Tokens | None = None
    error: Any = None


class OpenAI(Kind, tag="openai", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model behind one endpoint."""

    base_url: Text
    model: Text
    api_key: str = ""
    system_prompt: str = ""
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    extra: dict[str, Any] = field(default_factory=dict)  # further fields of the request, as the endpoint knows them

    @property
    def secret(self) -> str:
        return self.api_key

    def answer(self, asked: Asked) -> Iterator[Said]:
        url = f"{self.base_url.rstrip('/')}/chat/completions"
        headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        body = self.request(asked.body)
        with calling("model"), asked.client.stream("POST", url, json=body, headers=headers) as response:
            if response.status_code != 200:
                raise refusal("model", response)
            yield from read(events("model", response))

    def request(self, question: dict[str, Any]) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self.model, "messages": self.messages(question), "stream": True}
        body["stream_options"] = {"include_usage": True}
        if self.temperature is not None:
            body["temperature"] = self.temperature
        if self.max_tokens is not None:
            body["max_tokens"] = self.max_tokens
        return {**body, **self.extra}

    def messages(self, question: dict[str, Any]) -> list[dict[str, str]]:
        """What was said, as many models' templates insist on: the person begins, and nobody speaks twice in a row."""
        told: list[dict[str, str]] = []
        for role, text in spoken((*question["history"], question["message"])):
            if told and told[-1]["role"] == role:
                told[-1]["content"] += f"\n\n{text}"
            elif told or role == "user":
                told.append({"role": role, "content": text})
        system = [{"role": "system", "content": self.system_prompt}] if self.system_prompt else []
        return [*system, *told]


def spoken(messages: Iterable[dict[str, Any]]) -> Iterator[tuple[Role, str]]:
    for message in messages:
        if message["kind"] == "chat" and message["text"]:
            yield ("user" if message["direction"] == "incoming" else "assistant"), message["text"]


def read(source: Iterable[httpx.ServerSentEvent]) -> Iterator[Said]:
    """The events of a streamed answer. Raises NotAccepted if it ends before its end, Failed."""
    finish: str | None = None
    counted: Metadata | None = None
    for event in source:
        if event.data.strip() == "[DONE]":
            break
        chunk = chunk_of(event.data)
        yield from said(chunk)
        counted = usage_of(chunk) or counted  # some tell it with every chunk
        finish = next((choice.finish_reason for choice in chunk.choices or () if choice.finish_reason), finish)
    else:
        if finish is None:
            raise NotAccepted("broken", "The model's answer broke off.")
    if counted:
        yield counted
    if finish == "content_filter":
        yield Error("The model's content filter ended the answer.")
    elif finish not in (None, "stop"):
        yield Metadata(data={"finish_reason": finish})


def chunk_of(data: str) -> Chunk:
    try:
        chunk = msgspec.json.decode(data, type=Chunk)
    except msgspec.MsgspecError:
        raise Failed("The model said what is no chunk of an answer.") from None
    if chunk.error is not None:
        said = brief(message_in(data.encode()))
        raise Failed(f"The model failed in the middle of its answer{f': {said}' if said else ''}.")
    return chunk


def said(chunk: Chunk) -> Iterator[Said]:
    for choice in (chunk.choices or ())[:1]:
        delta = choice.delta or Words()
        if thought := delta.reasoning_content or delta.reasoning:
            yield Reasoning(thought)
        if delta.content:
            yield Token(delta.content)


def usage_of(chunk: Chunk) -> Metadata | None:
    if not (usage := chunk.usage):
        return None
    counted = Usage(usage.prompt_tokens, usage.completion_tokens, usage.total_tokens)
    return Metadata(model=chunk.model, usage=counted)
