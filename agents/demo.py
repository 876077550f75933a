"""The demo agent: a process of its own that takes questions over HTTP and answers by the webhook, as any agent does.

`python -m agents.demo`, with DEMO_AGENT (host:port) and DATA_DIR in the environment.
"""

from __future__ import annotations

import gevent.monkey

gevent.monkey.patch_all()

import json
import logging
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

import gevent
import httpx2 as httpx
from gevent.pywsgi import WSGIServer

import logs
from chat.signatures import sign, verify
from config import Config

logger = logging.getLogger(__name__)

THINKING = 0.3  # seconds
RETRIES = (0.5, 1, 2, 4, 8)  # seconds
QUESTION = 1024 * 1024  # bytes

HELP = """I am the **demo agent**, a process of my own. Your message came to me as a signed `POST`;
I answered by another one, to `/webhook/chat-response`.

| Say | and I |
|---|---|
| `markdown` | show headings, lists and code |
| `fail` | report an error, so that you see *Retry* |
| `slow` | take five seconds |

Anything else I repeat. Put your own agent in my place: see *Your own agent* in the README."""

MARKDOWN = """## What an answer may hold

1. **bold**, *italic* and `code`
2. [links](https://example.com/)

> and quotations

```python
def answer(question: str) -> str:
    return f"You said: {question}"
```"""


class DemoAgent:
    """Answers questions of one Backchannel server. `demo` is what demo.json holds."""

    def __init__(self, demo: dict[str, str]) -> None:
        self._secret = demo["webhook_secret"]
        self._client = httpx.Client(trust_env=False, timeout=10)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Take a question: 202 at once, the answer follows."""
        body = environ["wsgi.input"].read(min(int(environ.get("CONTENT_LENGTH") or 0), QUESTION))
        headers = {name[5:].replace("_", "-").lower(): text for name, text in environ.items() if name[:5] == "HTTP_"}
        if not verify(self._secret, headers, body, time.time()):
            start_response("401 Unauthorized", [])
            return [b"the signature does not fit"]
        gevent.spawn(self._answer, json.loads(body))
        start_response("202 Accepted", [])
        return [b""]

    def _answer(self, question: dict[str, Any]) -> None:
        text = question["message"]["text"].strip()
        gevent.sleep(5 if text == "slow" else THINKING)
        said = {"thread_id": question["thread_id"], "run_id": question["run_id"]}
        if text == "fail":
            said |= {"status": "error", "error": "You asked me to fail."}
        else:
            said |= {"message": {"text": reply(text)}}
        self._post(question["callback_url"], question["run_id"], json.dumps(said).encode())

    def _post(self, url: str, key: str, body: bytes) -> None:
        """Post until it is stored: the key makes a repeat harmless."""
        for wait in (*RETRIES, None):
            try:
                response = self._client.post(url, content=body, headers=sign(self._secret, key, int(time.time()), body))
            except httpx.HTTPError as error:
                logger.warning("cannot answer: %s", error)
            else:
                if response.status_code < 500:
                    return
                logger.warning("cannot answer: HTTP %s", response.status_code)
            if wait is not None:
                gevent.sleep(wait)


def reply(text: str) -> str:
    answers = {
        "help": HELP,
        "hello": HELP,
        "hi": HELP,
        "markdown": MARKDOWN,
        "slow": "That took five seconds.",
    }
    return answers.get(text.lower(), f"You said: {text}")


def main() -> None:
    settings = Config.or_exit()
    logs.set_up(settings.LOG_FORMAT)
    logs.watch_greenlets()
    host, _, port = os.environ["DEMO_AGENT"].partition(":")
    demo = json.loads((settings.data_dir / "demo.json").read_text())
    WSGIServer((host, int(port)), DemoAgent(demo), log=None).serve_forever()


if __name__ == "__main__":
    main()
