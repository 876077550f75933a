"""An OpenAI-compatible endpoint: `POST /v1/chat/completions` as vLLM streams it (`python -m tests.fakes.openai PORT`).

A first chunk with the role, one for each piece, one with the `finish_reason`, one with the usage and no choices if it
was asked for, `[DONE]`; now and then a comment, as routers send it to keep the line open. JSON is not escaped beyond
need, so U+2028 goes as it is.
"""

from __future__ import annotations

import json
import time
from typing import Any

from tests.fakes.stage import Player, serve


class Endpoint(Player):
    def play(self, body: Any) -> None:
        seen, script = self.note(body), self.server.script
        if script.get("manner") == "refuse":
            self.reply(script["status"], script["error"])
        elif self.path != "/v1/chat/completions":
            self.reply(404, {"detail": "Not Found"})
        else:
            self.stream(body, seen, script)

    def stream(self, body: dict[str, Any], seen: dict[str, Any], script: dict[str, Any]) -> None:
        self.begin()
        self.send(body, seen, delta={"role": "assistant", "content": ""})
        for thought in script.get("reasoning", ()):
            self.send(body, seen, delta={"reasoning_content": thought})
        for number, word in enumerate(self.words(seen, script)):
            if number % 3 == 0:
                self.chunk(b": keep-alive\n\n", seen)
            self.send(body, seen, delta={"content": word})
        if seen["said"]:
            self.send(body, seen, delta={}, finish=script.get("finish", "stop"))
            if body.get("stream_options", {}).get("include_usage"):
                self.send(body, seen, usage=usage_of(body, script))
            self.chunk(b"data: [DONE]\n\n", seen)
        self.finish_body()

    def send(
        self,
        body: dict[str, Any],
        seen: dict[str, Any],
        delta: dict[str, Any] | None = None,
        finish: str | None = None,
        usage: dict[str, int] | None = None,
    ) -> None:
        choices = [] if delta is None else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
        chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": int(time.time())}
        chunk |= {"model": body["model"], "choices": choices, "usage": usage}
        self.chunk(f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n".encode(), seen)


def usage_of(body: dict[str, Any], script: dict[str, Any]) -> dict[str, int]:
    prompt = sum(len(message["content"].split()) for message in body["messages"])
    said = len(script.get("words", ()))
    return {"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said}


if __name__ == "__main__":
    serve(Endpoint)
