"""The demo agent: a process of its own that takes questions over HTTP and answers by the webhook, as any agent does.

`python -m agents.demo`, with DEMO_AGENT (host:port) and DATA_DIR in the environment.
"""

from __future__ import annotations

import gevent.monkey

gevent.monkey.patch_all()

import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import gevent
from gevent import Greenlet
from gevent.pywsgi import WSGIServer

import logs
from agents.client import Answer, Refused, Stopped, Unreachable
from chat.signatures import verify
from config import Config

logger = logging.getLogger(__name__)

THINKING = 0.3  # seconds
WORD = 0.02  # seconds between two words
SLOW = 5.0  # seconds
QUESTION = 1024 * 1024  # bytes

HELP = """I am the **demo agent**, a process of my own. Your message came to me as a signed `POST`;
I answer by another one, to `/webhook/events`, word by word.

| Say | and I |
|---|---|
| `markdown` | show headings, lists and code |
| `sources` | look something up, and show my stages and sources and what you might ask next |
| `think` | show what I think first, and use a tool |
| `ask` | ask you something back |
| `long` | take a while, so that you can stop me |
| `fail` | report an error, so that you see *Retry* |
| `slow` | take five seconds before the first word |

Anything else I repeat. Put your own agent in my place: see *Your own agent* in the README."""

MARKDOWN = """## What an answer may hold

1. **bold**, *italic* and `code`
2. [links](https://example.com/)

> and quotations

```python
def answer(question: str) -> str:
    return f"You said: {question}"
```"""

SOURCES = (
    {"title": "Server-sent events", "url": "https://html.spec.whatwg.org/multipage/server-sent-events.html"},
    {"title": "Standard Webhooks", "url": "https://www.standardwebhooks.com/", "text": "Signed, and known again."},
)

Answers = Callable[[Answer], None]


class DemoAgent:
    """Answers questions of one Backchannel server. `demo` is what demo.json holds."""

    def __init__(self, demo: dict[str, str]) -> None:
        self._secret = demo["webhook_secret"]
        self._answers: dict[str, Greenlet[[dict[str, Any]], None]] = {}  # by run

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Take a question: 202 at once, the answer follows."""
        body = environ["wsgi.input"].read(min(int(environ.get("CONTENT_LENGTH") or 0), QUESTION))
        headers = {name[5:].replace("_", "-").lower(): text for name, text in environ.items() if name[:5] == "HTTP_"}
        if not verify(self._secret, headers, body, time.time()):
            start_response("401 Unauthorized", [])
            return [b"the signature does not fit"]
        self._take(json.loads(body))
        start_response("202 Accepted", [])
        return [b""]

    def _take(self, said: dict[str, Any]) -> None:
        """Begin an answer, unless it is begun already; or leave off, where nobody wants it any more."""
        run_id = said["run_id"]
        if said.get("type") == "cancel":
            if answering := self._answers.pop(run_id, None):
                answering.kill(block=False)
        elif run_id not in self._answers:
            self._answers[run_id] = gevent.spawn(self._answer, said)

    def _answer(self, question: dict[str, Any]) -> None:
        text = question["message"]["text"].strip()
        gevent.sleep(SLOW if text.lower() == "slow" else THINKING)
        url, thread_id, run_id = question["callback_url"], question["thread_id"], question["run_id"]
        try:
            with Answer(url, thread_id, run_id, secret=self._secret) as answer:
                answers_to(text)(answer)
        except Stopped:
            logger.info("stopped")
        except (Refused, Unreachable) as error:
            logger.warning("cannot answer: %s", error)
        finally:
            self._answers.pop(run_id, None)


def answers_to(text: str) -> Answers:
    """How to answer what was said."""
    known: dict[str, Answers] = {
        "help": partial(speak, text=HELP),
        "hello": partial(speak, text=HELP),
        "hi": partial(speak, text=HELP),
        "markdown": partial(speak, text=MARKDOWN),
        "slow": partial(speak, text="That took five seconds."),
        "long": partial(speak, text=" ".join(f"This is sentence {number} of 100." for number in range(1, 101))),
        "sources": look_up,
        "think": think,
        "ask": lambda answer: answer.ask("Which colour do you like best?"),
        "fail": lambda answer: answer.fail("You asked me to fail."),
    }
    return known.get(text.lower(), partial(speak, text=f"You said: {text}"))


def speak(answer: Answer, text: str) -> None:
    say_slowly(text, answer.token)


def say_slowly(text: str, say: Callable[[str], None]) -> None:
    for word in re.findall(r"\s*\S+\s*", text) or [text]:
        say(word)
        gevent.sleep(WORD)


def look_up(answer: Answer) -> None:
    answer.stage("query_analysis")
    gevent.sleep(THINKING)
    answer.stage("retrieval")
    gevent.sleep(THINKING)
    answer.sources(*SOURCES)
    answer.stage("generation")
    speak(answer, "A stream resumes by its cursor [1], and a webhook is known again by its id [2].")
    answer.quality_score(0.87)
    answer.follow_up_questions("What is a cursor?", "How is a webhook signed?", "markdown")
    answer.metadata(model="demo", usage={"input_tokens": 12, "output_tokens": 17, "total_tokens": 29})


def think(answer: Answer) -> None:
    say_slowly("Somebody wants to know what time it is. I have a tool for that.", answer.reasoning)
    answer.tool("clock", id="1", input={"zone": "UTC"})
    gevent.sleep(THINKING)
    now = time.strftime("%H:%M", time.gmtime())
    answer.tool("clock", id="1", status="success", output=now)
    speak(answer, f"It is {now} in Greenwich.")


def main() -> None:
    settings = Config.or_exit()
    logs.set_up(settings.LOG_FORMAT)
    logs.watch_greenlets()
    host, _, port = os.environ["DEMO_AGENT"].partition(":")
    demo = json.loads((settings.data_dir / "demo.json").read_text())
    WSGIServer((host, int(port)), DemoAgent(demo), log=None).serve_forever()


if __name__ == "__main__":
    main()
