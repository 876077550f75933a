"""The docs say what is true: the settings are config.py's, no door and no event is left out, their rule is a rule."""

import inspect
import re
from collections.abc import Callable
from dataclasses import fields
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any, get_args

from chat.draft import length
from chat.events import AnyEvent
from chat.native import message_json, run_json, thread_json
from chat.pen import PARTS, TEXTS
from config import Config
from tests.test_doors import DOORS, PAGES

README = Path(__file__).parent.parent / "README.md"
DOCS = README.parent / "docs"
TOKENS = ("a", "é", "😀", "b\n", "c", "d", "👩‍👩‍👧", "e")


def settings_table() -> dict[str, tuple[str, str]]:
    """The README's settings: default and meaning by name."""
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.*?) \| (.+?) \|$", README.read_text(), re.MULTILINE)
    assert rows, "the table was not found"
    return {name: (default.strip(" `"), meaning) for name, default, meaning in rows}


def test_the_readme_names_every_setting_with_its_default_and_no_other() -> None:
    table = settings_table()
    assert {name: default for name, (default, _) in table.items()} == {
        setting.name: str(setting.default) for setting in fields(Config)
    }


def test_and_says_of_each_what_config_says() -> None:
    assert {name: meaning for name, (_, meaning) in settings_table().items()} == {
        setting.name: setting.metadata["doc"] for setting in fields(Config)
    }


def test_the_readme_names_every_door() -> None:
    said = {tuple(door) for door in re.findall(r"`([A-Z]+) (/[^`?]*)(?:\?[^`]*)?`", README.read_text())}
    # Pages are for people, and are found by a link.
    doors = {(method, rule) for method, rule in DOORS if rule not in {*PAGES, "/login"} and "static" not in rule}
    assert {(method, re.sub(r"<\w+>", "{id}", rule)) for method, rule in doors} - said == set()


def test_every_field_of_what_is_told_is_described() -> None:
    sections = (DOCS / "shapes.md").read_text().split("\n## ")
    for shape, name in ((message_json, "A message"), (run_json, "A run"), (thread_json, "A thread")):
        [section] = [section for section in sections if section.startswith(name)]
        described = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\|(.*?)\|", section, re.MULTILINE))))
        told = set(re.findall(r'^        "(\w+)":', inspect.getsource(shape), re.MULTILINE))
        assert described - {"tip_id"} == told - {"tip_id"}, name


def test_every_event_and_every_frame_of_an_answer_is_described() -> None:
    table = (DOCS / "agents.md").read_text().partition("| `type` |")[2].partition("\n\n")[0]
    events = re.findall(r"`(\w+)`", "".join(re.findall(r"^\|(.*?)\|", table, re.MULTILINE)))
    assert set(events) == {str(kind.__struct_config__.tag) for kind in get_args(AnyEvent)}
    frames = set(re.findall(r"^\| `(\w+)` \|", (DOCS / "streams.md").read_text(), re.MULTILINE))
    assert frames == {"partial", *(kind for kind, _ in [*TEXTS.values(), *PARTS.values()])}


def client() -> tuple[Callable[..., dict[str, Any]], dict[str, Any]]:
    """What docs/streams.md gives those who write a client: the rule, and what is held before the first word."""
    found = re.search(r"```python\n(.*?)```", (DOCS / "streams.md").read_text(), re.DOTALL)
    assert found
    names: dict[str, Any] = {}
    exec(found[1], names)
    return names["hear"], names["NOTHING"]


def whole(count: int, text: str, gen: int = 1) -> dict[str, Any]:
    return {"run_id": "r", "status": "running", "gen": gen, "count": count, "text": text}


def delta(since: int, count: int, gen: int = 1) -> dict[str, Any]:
    at, text = length("".join(TOKENS[:since])), "".join(TOKENS[since:count])
    return {"run_id": "r", "gen": gen, "since": since, "count": count, "at": at, "text": text}


def test_by_the_rule_every_whole_joins_every_later_piece() -> None:
    hear, nothing = client()
    for saved, known, count in combinations_with_replacement(range(len(TOKENS) + 1), 3):
        if count:
            held = hear(nothing, "partial", whole(known, "".join(TOKENS[:known])))
            assert hear(held, "delta", delta(saved, count)).get("text", "") == "".join(TOKENS[:count])


def test_by_the_rule_a_gap_is_noticed_and_the_whole_heals_it() -> None:
    hear, nothing = client()
    lost = hear(hear(nothing, "delta", delta(0, 1)), "delta", delta(2, 3))
    assert lost["behind"]
    assert lost["text"] == "a"
    assert hear(lost, "partial", whole(3, "aé😀")) == {**whole(3, "aé😀"), "behind": False}
    rewritten = hear(hear(nothing, "delta", delta(0, 3)), "delta", delta(1, 2, gen=2))
    assert rewritten["behind"], "another goes on from further back"
    assert hear(hear(nothing, "delta", delta(0, 1)), "delta", delta(1, 2, gen=2))["text"] == "aé"


def test_by_the_rule_what_is_known_changes_nothing_and_what_stands_beside_the_text_is_replaced() -> None:
    hear, nothing = client()
    held = hear(nothing, "delta", delta(0, 2))
    assert hear(held, "delta", delta(0, 2)) == hear(held, "delta", delta(0, 1)) == held
    stage = {"run_id": "r", "gen": 1, "since": 2, "count": 3, "stages": [{"name": "retrieval"}]}
    assert hear(held, "stage", stage)["stages"] == [{"name": "retrieval"}]
    assert hear(hear(held, "stage", stage), "reasoning", {**delta(3, 4), "at": 0, "text": "hm"})["reasoning"] == "hm"
