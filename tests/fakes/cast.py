"""Fakes as tests use them: started on a free port, told how to behave, asked what they saw."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from typing import Any

from tests.ports import free_port
from tests.until import until

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Fake:
    """One of tests/fakes, by its module's name."""

    def __init__(self, module: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process = subprocess.Popen([sys.executable, "-m", f"tests.fakes.{module}", str(self.port)])
        until(self._answers, 30)

    def plays(self, *words: str, **script: Any) -> None:
        """Behave like this from now on, and forget what was seen."""
        body = json.dumps({"words": words, **script}).encode()
        with OPENER.open(urllib.request.Request(f"{self.url}/script", body, method="PUT"), timeout=10):
            pass

    @property
    def seen(self) -> list[dict[str, Any]]:
        with OPENER.open(f"{self.url}/seen", timeout=10) as response:
            return json.load(response)  # type: ignore[no-any-return]

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(10)

    def _answers(self) -> bool:
        try:
            return self.seen == []
        except OSError:
            return False
