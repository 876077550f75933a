"""bin/_venv.py: a .venv is made once, mended when broken, renewed when a lock file changes."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module, at work in an empty project; what it would install is noted, not fetched."""
    spec = importlib.util.spec_from_file_location("_venv", ROOT / "bin" / "_venv.py")
    assert spec
    assert spec.loader
    venv = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(venv)
    monkeypatch.setattr(venv, "ROOT", tmp_path)
    monkeypatch.setattr(venv, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(venv, "PYTHON", tmp_path / ".venv/bin/python")
    monkeypatch.setattr(venv, "STAMP", tmp_path / ".venv/stamp.json")
    monkeypatch.setattr(venv, "_installer", lambda: "uv")
    monkeypatch.setattr(venv, "installed", [], raising=False)
    monkeypatch.setattr(venv, "_install", venv.installed.append)
    for lock in ("requirements.txt", "requirements-dev.txt"):
        (tmp_path / lock).write_text(f"# {lock}\n")
    return venv


def marked(venv: ModuleType) -> Path:
    """A file that is gone when the .venv has been made anew."""
    mark = venv.VENV / "mark"
    mark.touch()
    return mark


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_it_is_made_once(venv: ModuleType) -> None:
    venv.ensure("requirements.txt")
    mark = marked(venv)
    venv.ensure("requirements.txt")
    assert venv.installed == ["requirements.txt"]
    assert mark.exists()
    assert subprocess.run([venv.PYTHON, "-c", ""]).returncode == 0


def test_the_tests_lock_comes_on_top_and_both_stay_known(venv: ModuleType) -> None:
    venv.ensure("requirements.txt")
    mark = marked(venv)
    for lock in ("requirements-dev.txt", "requirements.txt", "requirements-dev.txt"):
        venv.ensure(lock)
    assert venv.installed == ["requirements.txt", "requirements-dev.txt"]
    assert mark.exists()


def test_a_changed_lock_is_installed_into_what_is_there(venv: ModuleType) -> None:
    venv.ensure("requirements.txt")
    mark = marked(venv)
    (venv.ROOT / "requirements.txt").write_text("# newer\n")
    venv.ensure("requirements.txt")
    assert venv.installed == ["requirements.txt"] * 2
    assert mark.exists()


@pytest.mark.parametrize("damage", ["no stamp", "torn stamp", "no python", "other python", "moved", "other installer"])
def test_a_broken_one_is_made_anew(venv: ModuleType, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    venv.ensure("requirements.txt")
    mark = marked(venv)
    if damage == "no stamp":
        venv.STAMP.unlink()
    elif damage == "torn stamp":
        venv.STAMP.write_text(venv.STAMP.read_text()[:20])
    elif damage == "no python":
        venv.PYTHON.unlink()
    elif damage == "other python":
        monkeypatch.setattr(sys, "version", "3.99.0")
    elif damage == "moved":
        rewrite(venv.STAMP, str(venv.ROOT), "/elsewhere")
    else:
        rewrite(venv.STAMP, '"uv"', '"pip"')
    venv.ensure("requirements.txt")
    assert venv.installed == ["requirements.txt"] * 2
    assert not mark.exists()


def test_an_interrupted_install_leaves_nothing_to_be_trusted(venv: ModuleType) -> None:
    venv.ensure("requirements.txt")
    mark = marked(venv)
    install, venv._install = venv._install, interrupted
    with pytest.raises(KeyboardInterrupt):
        venv.ensure("requirements-dev.txt")
    venv._install = install
    venv.ensure("requirements.txt")
    assert not mark.exists()


def interrupted(lock: str) -> None:
    raise KeyboardInterrupt


def test_an_old_python_is_refused_clearly(venv: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    with pytest.raises(SystemExit, match=r"needs Python 3\.11"):
        venv.ensure("requirements.txt")


def test_a_missing_venv_module_is_explained(venv: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(SystemExit, match="python3-venv"):
        venv.ensure("requirements.txt")
    assert not venv.VENV.exists()
