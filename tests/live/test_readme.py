"""The README's example is run as it stands."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.server import ROOT, Server
from tests.sse import parse


def example() -> str:
    section = (ROOT / "README.md").read_text().partition("## One complete example")[2]
    found = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert found
    return found[1]


def test_the_complete_example_does_what_it_says(server: Server, tmp_path: Path) -> None:
    (tmp_path / "var").symlink_to(server.data_dir)
    subprocess.run(["bash", "-c", example()], cwd=tmp_path, check=True, timeout=60, capture_output=True)
    events = parse((tmp_path / "var" / "events.txt").read_bytes())
    said = [event for event in events if event.event == "message"]
    assert [event.json["direction"] for event in said] == ["incoming", "outgoing"]
    rest = server.raw("GET", f"/threads/{said[0].json['thread_id']}/messages?after={said[0].json['seq']}")[2]
    assert said[1].json["id"].encode() in rest
