"""An agent whose answers the test writes itself, word by word, and a person who asks it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from playwright.sync_api import Playwright
from sqlalchemy.orm import Session

from agents.client import Answer
from chat import accounts, agents
from tests.browser.stores import store_of
from tests.ports import free_port
from tests.server import OPENER, ROOT, Server
from tests.until import until

NAME, PASSWORD = "wendy@example.com", "wendys password"


class Writer:
    """The agent's process takes every question and says nothing. It listens as soon as this exists."""

    def __init__(self) -> None:
        self._port = free_port()
        self.token = ""
        self._answers: list[Answer] = []
        argv = [sys.executable, "-m", "tests.live.fake_agent", str(self._port), "", "accept"]
        self._process = subprocess.Popen(argv, cwd=ROOT)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    def meet(self, server: Server, playwright: Playwright) -> list[Any]:
        """Become the only agent of Wendy's tenant; return the cookies of her session."""
        self.token = store_of(server).write(self._enter)
        person = playwright.request.new_context(base_url=server.url)
        answer = person.post("/login", data={"name": NAME, "password": PASSWORD})
        assert answer.ok, answer.text()
        kept = person.storage_state()["cookies"]
        person.dispose()
        return kept

    def _enter(self, session: Session) -> str:
        tenant = accounts.add_tenant(session, "writers")
        accounts.add_user(session, tenant, NAME, accounts.hasher.hash(PASSWORD))
        return agents.add_agent(session, tenant, "Atlas", f"http://{self.address}/")[1]

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def asked(self, text: str) -> list[dict[str, Any]]:
        """Each time that this was asked, oldest first."""
        with OPENER.open(f"http://{self.address}/", timeout=10) as response:
            bodies = [json.loads(each["body"]) for each in json.load(response)]
        return [body for body in bodies if body.get("message", {}).get("text") == text]

    def answer(self, text: str, times: int = 1) -> Answer:
        """Wait until this has been asked so often, and begin to answer the last time."""
        until(lambda: len(self.asked(text)) >= times)
        question = self.asked(text)[-1]
        answer = Answer(question["callback_url"], question["thread_id"], question["run_id"], token=self.token)
        self._answers.append(answer)
        return answer

    def hang_up(self) -> None:
        """Leave what was begun and not ended."""
        for answer in self._answers:
            answer._hang_up()
        self._answers.clear()
