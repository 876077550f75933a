"""A webhook agent that streams its answers by agents/client.py (`python -m tests.fakes.webhook PORT`).

Its script also holds the agent's `token`.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from agents.client import Answer, Refused, Stopped
from tests.fakes.stage import Closed, Player, serve


class Agent(Player):
    def play(self, body: Any) -> None:
        seen, script = self.note(body), self.server.script
        if script.get("manner") == "refuse":
            self.reply(script["status"], script["error"])
            return
        self.reply(202, {})
        if body.get("type") != "cancel":
            threading.Thread(target=self.answer, args=[body, seen, script], daemon=True).start()

    def answer(self, question: dict[str, Any], seen: dict[str, Any], script: dict[str, Any]) -> None:
        url, thread_id, run_id = question["callback_url"], question["thread_id"], question["run_id"]
        try:
            with Answer(url, thread_id, run_id, token=script["token"]) as answer:
                for thought in script.get("reasoning", ()):
                    answer.reasoning(thought)
                for word in self.words(seen, script):
                    answer.token(word)
                said = len(script["words"])
                answer.metadata(usage={"input_tokens": 7, "output_tokens": said, "total_tokens": 7 + said})
        except Stopped:
            seen["closed"] = time.time()
        except (Refused, Closed, OSError, RuntimeError):
            pass

    def wait(self, seconds: float, seen: dict[str, Any]) -> None:
        time.sleep(seconds)

    def misbehave(self, manner: str, seen: dict[str, Any]) -> None:
        if manner == "stall":
            time.sleep(3600)
        raise RuntimeError("it broke")  # as an agent's own failure


if __name__ == "__main__":
    serve(Agent)
