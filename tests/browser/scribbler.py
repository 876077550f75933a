"""An agent in a process of its own that writes one answer at a steady rate.

`python -m tests.browser.scribbler URL THREAD RUN TOKEN RATE` reads the words from its input, as JSON.
"""

from __future__ import annotations

import json
import sys
import time

from agents.client import Answer


def main(url: str, thread_id: str, run_id: str, token: str, rate: str) -> None:
    words = json.load(sys.stdin)
    began = time.monotonic()
    with Answer(url, thread_id, run_id, token=token) as answer:
        for number, word in enumerate(words):
            time.sleep(max(0.0, began + number / float(rate) - time.monotonic()))
            answer.token(word)


if __name__ == "__main__":
    main(*sys.argv[1:])
