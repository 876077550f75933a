"""What a reader holds of an answer that is being written: written anew from chat/pen.py's words, to hold it to them."""

from __future__ import annotations

from typing import Any

SECTIONS = {"delta": "text", "reasoning": "reasoning"}
PIECES = (*SECTIONS, "stage", "tool", "sources", "quality_score", "follow_up_questions", "metadata")
ABOUT = ("run_id", "thread_id", "message_id", "status", "gen", "since", "count", "at")


class Held:
    """One answer: `gen`, `count` and its parts by name. `is_behind`: the whole has to be asked for."""

    def __init__(self) -> None:
        self.gen = self.count = 0
        self.parts: dict[str, Any] = {}
        self.is_behind = False

    @property
    def text(self) -> str:
        return str(self.parts.get("text", ""))

    def take_whole(self, told: dict[str, Any]) -> None:
        if self.is_behind or (told["gen"], told["count"]) > (self.gen, self.count):
            self.gen, self.count, self.is_behind = told["gen"], told["count"], False
            self.parts = {name: value for name, value in told.items() if name not in ABOUT}

    def take_piece(self, kind: str, told: dict[str, Any]) -> None:
        if (told["gen"], told["count"]) <= (self.gen, self.count):
            return
        if told["since"] > self.count or (told["gen"] > self.gen and told["since"] < self.count):
            self.is_behind = True
            return
        if section := SECTIONS.get(kind):
            before = str(self.parts.get(section, "")).encode("utf-16-le")[: told["at"] * 2].decode("utf-16-le")
            self.parts[section] = before + told["text"]
        else:
            self.parts |= {name: value for name, value in told.items() if name not in ABOUT}
        self.gen, self.count = told["gen"], told["count"]
