"""What models stream, in the shapes that servers really send, and what it becomes.

Source: the OpenAI API reference, "The chat completion chunk object", and what vLLM, Ollama and routers send.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import pytest

from agents.kind import Failed, NotAccepted
from agents.openai import OpenAI, read
from agents.upstream import events, refusal
from chat.events import Error, Metadata, Reasoning, Said, Token, Usage


def chunk(text: str | None = None, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    delta = delta if text is None else {"content": text, **delta}
    return {"model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def stream(*chunks: Any, done: bool = True, end: str = "\n") -> Iterator[Said]:
    lines = [
        f"data: {data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)}{end}{end}" for data in chunks
    ]
    body = "".join(lines) + (f"data: [DONE]{end}{end}" if done else "")
    headers, request = {"Content-Type": "text/event-stream"}, httpx.Request("POST", "http://model")
    return read(events("model", httpx.Response(200, content=body.encode(), headers=headers, request=request)))


END = chunk(finish="stop")
USED = {"model": "m", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}}
FILTERED = Error("The model's content filter ended the answer.")


@pytest.mark.parametrize(
    ("chunks", "said"),
    [
        ([chunk("", role="assistant"), chunk("Hel"), chunk("lo"), END], [Token("Hel"), Token("lo")]),
        ([chunk("a\u2028b\x85c"), END], [Token("a\u2028b\x85c")]),  # line ends to Python, none to SSE
        ([chunk(reasoning_content="hm"), chunk("x"), END], [Reasoning("hm"), Token("x")]),
        ([chunk(reasoning="hm"), chunk("x"), END], [Reasoning("hm"), Token("x")]),
        ([chunk("x", reasoning_content=None), END], [Token("x")]),
        ([{"choices": [{"delta": None}]}, {"choices": None}, {}, chunk("x"), END], [Token("x")]),
        (
            [chunk("x"), END, USED],
            [Token("x"), Metadata("m", Usage(3, 1, 4))],
        ),
        ([chunk("x"), chunk(finish="length")], [Token("x"), Metadata(data={"finish_reason": "length"})]),
        ([chunk("x"), chunk(finish="content_filter")], [Token("x"), FILTERED]),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_chunks_are_said_as_they_are_meant(chunks: list[Any], said: list[Said], end: str) -> None:
    assert list(stream(*chunks, end=end)) == said


def test_an_end_without_done_is_one_if_the_model_has_finished() -> None:
    assert list(stream(chunk("x"), END, done=False)) == [Token("x")]


@pytest.mark.parametrize(
    ("chunks", "kind", "said"),
    [
        ([chunk("x")], NotAccepted, "The model's answer broke off."),
        ([chunk("x"), "{"], Failed, "The model said what is no chunk of an answer."),
        (
            [chunk("x"), {"error": {"message": "CUDA out of memory.", "code": 500}}],
            Failed,
            "The model failed in the middle of its answer: CUDA out of memory.",
        ),
    ],
)
def test_what_is_no_end_is_told(chunks: list[Any], kind: type[Exception], said: str) -> None:
    answer = stream(*chunks, done=False)
    assert next(answer) == Token("x")
    with pytest.raises(kind, match=said):
        next(answer)


def told(direction: str, text: str, kind: str = "chat") -> dict[str, Any]:
    return {"direction": direction, "text": text, "kind": kind}


@pytest.mark.parametrize(
    ("history", "messages"),
    [
        ([], [("user", "now")]),
        ([("incoming", "a"), ("outgoing", "b")], [("user", "a"), ("assistant", "b"), ("user", "now")]),
        ([("incoming", "unanswered")], [("user", "unanswered\n\nnow")]),
        (
            [("outgoing", "cut off"), ("incoming", "a"), ("outgoing", "b")],
            [("user", "a"), ("assistant", "b"), ("user", "now")],
        ),
        (
            [("incoming", "a"), ("outgoing", "b"), ("outgoing", "c")],
            [("user", "a"), ("assistant", "b\n\nc"), ("user", "now")],
        ),
    ],
)
def test_a_conversation_begins_with_the_person_and_nobody_speaks_twice(history: Any, messages: Any) -> None:
    model = OpenAI(name="n", tenants=["t"], base_url="http://x", model="m", extra={"top_p": 1})
    question = {"history": [told(*each) for each in history], "message": told("incoming", "now")}
    request = model.request(question)
    assert [(message["role"], message["content"]) for message in request["messages"]] == messages
    assert request["top_p"] == 1
    assert "temperature" not in request


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (400, {"message": "prompt is too long: 9000 tokens > 8192 maximum"}, Failed, "This conversation is too long"),
        (
            400,
            {"error": {"message": "Bad key sk-1 here"}},
            Failed,
            "refused the question (HTTP 400): Bad key sk-1 here.",
        ),
        (422, {"detail": [{"msg": "x"}]}, Failed, "The model refused the question (HTTP 422)."),
        (401, {"error": {"message": "Bad key sk-1"}}, Failed, "The model does not accept our key (HTTP 401)."),
        (429, {}, NotAccepted, "The model is overloaded, or its quota is used up (HTTP 429)."),
        (502, "<html>Bad gateway</html>", NotAccepted, "The model cannot answer now (HTTP 502)."),
        (301, "", Failed, "The model refused the question (HTTP 301)."),
    ],
)
def test_a_refusal_says_what_can_be_done(status: int, body: Any, kind: type[Exception], said: str) -> None:
    content = body if isinstance(body, str) else json.dumps(body)
    error = refusal("model", httpx.Response(status, content=content.encode()))
    assert isinstance(error, kind)
    assert said in str(error)
