"""The README says what is true: its settings table is config.py's."""

import re
from dataclasses import fields
from pathlib import Path

from config import Config

README = Path(__file__).parent.parent / "README.md"


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
