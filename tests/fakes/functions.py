"""Agents that are functions. Their words come from a model over HTTP, as those of a team's own would."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator
from typing import Any

from agents.function import agent
from chat.events import Metadata, Reasoning, Said, Usage

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@agent("function")
def function(question: dict[str, Any]) -> Iterator[str | Said | dict[str, Any]]:
    said = [{"role": "user", "content": message["text"]} for message in [*question["history"], question["message"]]]
    body = {"model": "f", "messages": said, "stream_options": {"include_usage": True}}
    url = f"{os.environ['FUNCTION_MODEL']}/v1/chat/completions"
    with OPENER.open(urllib.request.Request(url, json.dumps(body).encode())) as response:
        for line in response:
            if line.startswith(b"data: {"):
                yield from events_of(json.loads(line[6:]))
            elif line.startswith(b"data: [DONE]"):
                return
    raise ConnectionError("the model's answer broke off")


def events_of(chunk: dict[str, Any]) -> Iterator[str | Said | dict[str, Any]]:
    for choice in chunk["choices"]:
        if thought := choice["delta"].get("reasoning_content"):
            yield Reasoning(thought)
        yield choice["delta"].get("content") or ""
    if usage := chunk["usage"]:
        yield Metadata(usage=Usage(usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]))


@agent("typed")
def typed(question: dict[str, Any]) -> Iterator[str | Said | dict[str, Any]]:
    yield {"type": "stage", "name": "retrieval"}
    yield {"type": "sources", "sources": [{"title": "A book", "score": 0.5}]}
    yield question["message"]["text"].upper()
    if question["message"]["text"] == "fail":
        raise ValueError("the person said fail")
