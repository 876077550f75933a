"""The project's own .venv: made when missing, mended when half made, renewed when a lock file changed.

Standard library only, since it runs before anything is installed. A stamp inside says what the .venv holds;
while it is being changed there is no stamp, so one that was interrupted is made anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "stamp.json"


def ensure(lock: str) -> None:
    """Make sure that .venv holds what the lock file says; exits with a hint when it cannot be made."""
    _refuse_old_python()
    if _is_fresh(lock):
        return
    # One at a time: bin/run and bin/test may be started side by side.
    with (ROOT / "requirements.txt").open() as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not _is_fresh(lock):
            _renew(lock)


def run(module: str, *arguments: str, say: int | IO[bytes] | None = None) -> int:
    """Run a module of the .venv in the project root, its output to `say` if given, and return its exit code."""
    return subprocess.run([PYTHON, "-m", module, *arguments], cwd=ROOT, stdout=say, stderr=say).returncode


def _refuse_old_python() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 (older ones do come as far as this)
        found = sys.version.split()[0]
        sys.exit(f"Backchannel needs Python 3.11 or newer; {sys.executable} is {found}.")


def _is_fresh(lock: str) -> bool:
    return _holds(_made_for()) and _holds(_hashed(lock))


def _renew(lock: str) -> None:
    held = _stamp() if _holds(_made_for()) else {}
    STAMP.unlink(missing_ok=True)
    print(f"Installing {lock} into .venv ...", file=sys.stderr, flush=True)
    if not held:
        _make()
    _install(lock)
    STAMP.write_text(json.dumps({**held, **_made_for(), **_hashed(lock)}))


def _holds(facts: dict[str, str]) -> bool:
    return facts.items() <= _stamp().items() and os.access(PYTHON, os.X_OK)


def _stamp() -> dict[str, str]:
    try:
        return json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}


def _made_for() -> dict[str, str]:
    """Say where and for whom a .venv is good: its scripts hold its path, its packages fit one Python."""
    return {"root": str(ROOT), "python": f"{sys.base_prefix} {sys.version}", "installer": _installer()}


def _hashed(lock: str) -> dict[str, str]:
    return {lock: hashlib.sha256((ROOT / lock).read_bytes()).hexdigest()}


def _make() -> None:
    shutil.rmtree(VENV, ignore_errors=True)
    without_pip = ["--without-pip"] if _installer() == "uv" else []
    if subprocess.run([sys.executable, "-m", "venv", *without_pip, VENV]).returncode != 0:
        shutil.rmtree(VENV, ignore_errors=True)
        sys.exit("Python could not make a virtual environment. Debian, Ubuntu: apt install python3-venv")


def _install(lock: str) -> None:
    by = {
        "uv": ["uv", "pip", "install", "--python", PYTHON],
        # Compiling all that is never imported takes a third of the time.
        "pip": [PYTHON, "-m", "pip", "install", "--no-input", "--no-compile"],
    }
    strict = ["--quiet", "--require-hashes", "--only-binary", ":all:", "-r", ROOT / lock]
    if subprocess.run([*by[_installer()], *strict]).returncode != 0:
        sys.exit(f"{lock} could not be installed; see above. The next start tries again.")


def _installer() -> str:
    return "uv" if shutil.which("uv") else "pip"
