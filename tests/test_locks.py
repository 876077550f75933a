"""The lock files hold what their sources ask for, by hash, and say nothing about the machine that wrote them."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PIN = re.compile(r"^([a-z0-9-]+)(?:\[[a-z]+\])?==([^\s;]+)", re.MULTILINE)


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_a_lock_holds_what_its_source_asks_for(name: str) -> None:
    wanted = PIN.findall((ROOT / f"{name}.in").read_text())
    locked = PIN.findall((ROOT / f"{name}.txt").read_text())
    assert len(wanted) > 5
    assert set(wanted) <= set(locked)


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_every_locked_package_has_hashes_and_none_a_place(name: str) -> None:
    lock = (ROOT / f"{name}.txt").read_text()
    blocks = re.split(r"^(?=[a-z])", lock, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(PIN.findall(lock))
    assert all("--hash=sha256:" in block for block in blocks)
    assert not re.search(r"://|^-|--(index|find)|(^|\s)/", lock, re.MULTILINE)


def test_tests_run_on_the_very_packages_that_users_get() -> None:
    users = set(PIN.findall((ROOT / "requirements.txt").read_text()))
    assert users <= set(PIN.findall((ROOT / "requirements-dev.txt").read_text()))
