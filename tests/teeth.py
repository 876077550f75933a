"""Run every row on its mutant, where it must fail, and print what became of it: `python -m tests.teeth [ROW...]`.

A row that passes on its mutant is no evidence; one that cannot even start there says nothing. Both are failures here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree as ET

import pytest

from tests.server import ROOT

FOLDER = "tests/live/faults"
WIDE = 110  # characters of a failure's words


@dataclass(frozen=True)
class Tooth:
    """One test of one row, and the mutant on which it must fail."""

    row: str
    mutant: str
    function: str
    test: str


class Collector:
    """Notes which test claims which row and mutant: of a quick and a slow form, the quick one."""

    def __init__(self) -> None:
        self.teeth: dict[tuple[str, str, str], Tooth] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in sorted(session.items, key=lambda item: item.get_closest_marker("slow") is not None):
            for mark in item.iter_markers("row"):
                if mutant := mark.kwargs.get("mutant"):
                    function = item.nodeid.partition("[")[0]
                    tooth = Tooth(mark.args[0], mutant, function, item.nodeid)
                    self.teeth.setdefault((tooth.row, mutant, function), tooth)


def collect() -> list[Tooth]:
    collector = Collector()
    with redirect_stdout(StringIO()) as said:
        code = pytest.main(["--collect-only", "-q", FOLDER], plugins=[collector])
    assert code == 0, said.getvalue()
    return sorted(collector.teeth.values(), key=lambda tooth: (len(tooth.row), tooth.row, tooth.test))


def bite(tooth: Tooth) -> tuple[str, str]:
    """Run the row on its mutant; say "failed", as it must, "PASSED" or "broken", and in which words."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "outcome.xml")
        argv = [sys.executable, "-m", "pytest", "-q", "--no-summary", f"--junitxml={path}", tooth.test]
        subprocess.run(argv, cwd=ROOT, env={**os.environ, "MUTANT": tooth.mutant}, stdout=subprocess.DEVNULL)
        case = ET.parse(path).find(".//testcase") if path.exists() else None
    for kind, outcome in (("failure", "failed"), ("error", "broken"), ("skipped", "broken")):
        if case is not None and (found := case.find(kind)) is not None:
            return outcome, " ".join((found.get("message") or "").split())
    return ("broken", "no outcome") if case is None else ("PASSED", "")


def main(*rows: str) -> int:
    survived = 0
    for tooth in collect():
        if rows and tooth.row not in rows:
            continue
        outcome, words = bite(tooth)
        survived += outcome != "failed"
        name = tooth.function.rpartition("::")[2]
        print(f"{tooth.row:4} {tooth.mutant:24} {outcome:7} {name}\n{'':5}{words[:WIDE]}", flush=True)
    print(f"\n{survived} rows have no teeth." if survived else "\nEvery row failed on its mutant.")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
