"""Promises as tests, by row: `@pytest.mark.row("R13", mutant="ack_before_commit")`; FAULT_ROWS or `-k R13` picks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.browser.chromium import SWITCHES, chromium
from tests.live.faults import SEED
from tests.live.faults.rig import Rig
from tests.live.faults.watchers import Crew

NOTES = pytest.StashKey[list[str]]()
PATIENCE = 300  # seconds for a row: on a starved machine all the states that it waits for are long in coming
StartRig = Callable[..., Rig]


@pytest.fixture(scope="session")
def crew() -> Iterator[Crew]:
    """The outside clients' processes, kept for the whole run."""
    crew = Crew()
    yield crew
    crew.stop()


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """The system's own browser, for rows that look into a page themselves."""
    return {**browser_type_launch_args, "executable_path": chromium(), "args": SWITCHES}


@pytest.fixture
def start_rig(tmp_path: Path, crew: Crew, request: pytest.FixtureRequest) -> Iterator[StartRig]:
    """Make rigs of one's own: `start_rig(through=["broker"])`. They end with the test."""
    with ExitStack() as stack:

        def start(**options: object) -> Rig:
            return noted(request, stack.enter_context(Rig(tmp_path / "rig", crew, **options)))  # type: ignore[arg-type]

        yield start


@pytest.fixture
def rig(start_rig: StartRig) -> Rig:
    """A rig to be broken in any way; its lines to the broker and to its clients go through proxies."""
    return start_rig(through=["broker", "client"])


@pytest.fixture(scope="session")
def lasting_rig(tmp_path_factory: pytest.TempPathFactory, crew: Crew) -> Iterator[Rig]:
    with Rig(tmp_path_factory.mktemp("lasting") / "rig", crew, through=["broker", "client"]) as rig:
        yield rig


@pytest.fixture
def whole_rig(lasting_rig: Rig, request: pytest.FixtureRequest) -> Iterator[Rig]:
    """The rig that all rows share which leave the server whole; what they broke around it is healed after them."""
    lasting_rig.wait_until_ready()
    yield noted(request, lasting_rig)
    for proxy in lasting_rig.proxies.values():
        proxy.heal()


def noted(request: pytest.FixtureRequest, rig: Rig) -> Rig:
    """Let the rig's figures be told at the end of the run, under the test's name."""
    notes = request.config.stash.setdefault(NOTES, [])
    rig.notes = []
    request.addfinalizer(lambda: notes.extend(f"{label(request.node)} {note}" for note in rig.notes))
    return rig


def label(item: pytest.Item) -> str:
    return f"{' '.join(rows_of(item))} {item.name}:".strip()


def rows_of(item: pytest.Item) -> list[str]:
    return [mark.args[0] for mark in item.iter_markers("row")]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let `-k R13` and FAULT_ROWS=R13 find a row by its name."""
    wanted = set(os.environ.get("FAULT_ROWS", "").split())
    for item in items:
        item.extra_keyword_matches.update(rows_of(item))
        if rows_of(item) and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(PATIENCE))
    if unknown := wanted.difference(*map(rows_of, items)):
        raise pytest.UsageError(f"no such row: {' '.join(sorted(unknown))}")
    if wanted:
        config.hook.pytest_deselected(items=[item for item in items if not wanted.intersection(rows_of(item))])
        items[:] = [item for item in items if wanted.intersection(rows_of(item))]


def pytest_report_header() -> str:
    return f"FAULT_SEED={SEED}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show a failed row its figures and what its server said."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    rigs = {value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Rig)}
    for rig in rigs if report.failed else ():
        report.sections.append((f"rig, FAULT_SEED={SEED}", "\n".join(rig.notes)))
        report.sections.append(("server log", rig.server.log()[-20_000:]))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for note in config.stash.get(NOTES, []):
        terminalreporter.write_line(note)
