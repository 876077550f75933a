"""The page's own scripts in node, held against what came to a page (tests/js/replay.mjs)."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

REPLAY = Path(__file__).resolve().parent.parent / "js" / "replay.mjs"


class Scripts:
    """A node process that replays one sequence a line and says what differs."""

    def __enter__(self) -> Scripts:
        self._node = subprocess.Popen(["node", REPLAY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._node.stdin
        assert self._node.stdout
        self._node.stdin.close()
        self._node.wait(10)
        self._node.stdout.close()

    def replay(self, steps: list[tuple[Any, ...]]) -> None:
        """Raises AssertionError with the page's own words where it shows something else, or does."""
        assert self._node.stdin
        assert self._node.stdout
        print(json.dumps(steps), file=self._node.stdin, flush=True)
        said = json.loads(self._node.stdout.readline())
        assert not said, said
