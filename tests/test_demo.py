"""The demo agent: it knows a question that comes twice, and leaves off when nobody wants the answer any more."""

from __future__ import annotations

import io
import json
import time
from typing import Any

from agents.demo import DemoAgent
from chat.signatures import sign
from chat.tokens import webhook_secret
from tests.until import until

SECRET = webhook_secret("a key", "an agent")


def post(agent: DemoAgent, body: dict[str, Any], secret: str = SECRET) -> str:
    raw = json.dumps(body).encode()
    signed = sign(secret, body["run_id"], int(time.time()), raw)
    headers = {f"HTTP_{name.upper().replace('-', '_')}": text for name, text in signed.items()}
    status: list[str] = []
    answer = {"wsgi.input": io.BytesIO(raw), "CONTENT_LENGTH": str(len(raw)), **headers}
    list(agent(answer, lambda line, _: status.append(line)))
    return status[0]


def question(run: str) -> dict[str, Any]:
    return {"thread_id": "t", "run_id": run, "message": {"text": "slow"}, "callback_url": "http://127.0.0.1:9/"}


def test_a_question_that_comes_twice_is_answered_once_and_cancelled_only_by_who_may() -> None:
    agent = DemoAgent({"webhook_secret": SECRET})
    for _ in range(2):
        assert post(agent, question("one")) == "202 Accepted"
    post(agent, question("two"))
    answering = dict(agent._answers)
    assert set(answering) == {"one", "two"}
    cancel = {"type": "cancel", "thread_id": "t", "run_id": "one"}
    assert post(agent, cancel, webhook_secret("another key", "an agent")) == "401 Unauthorized"
    assert not answering["one"].dead
    assert post(agent, cancel) == "202 Accepted"
    until(lambda: answering["one"].dead)
    assert post(agent, cancel) == "202 Accepted"
    assert not answering["two"].dead
    answering["two"].kill()
