"""Programs that are no Python packages: used if there, installed on a Debian as root, else asked for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from glob import glob
from pathlib import Path

# What we call, and the Debian packages that bring it. Chromium without a font draws empty boxes; without the windows
# and menus of a browser around its pages, which nobody sees in a test, it takes a third of the time.
PACKAGES = {
    "chromium-headless-shell": ["chromium-headless-shell", "fonts-liberation"],
    "node": ["nodejs"],
    "nginx": ["nginx-light"],
    "haproxy": ["haproxy"],
    "openssl": ["openssl"],
    "faketime": ["faketime"],
    "postgres": ["postgresql"],
}
ELSEWHERE = {"postgres": "/usr/lib/postgresql/*/bin/postgres"}  # where Debian keeps what it does not put on PATH
NO_CLUSTER = Path("/etc/postgresql-common/createcluster.conf")


def ensure(*programs: str) -> None:
    """Make sure that the programs are on PATH; exits with a hint when they cannot be installed."""
    packages = [package for program in programs if not _is_there(program) for package in PACKAGES[program]]
    if packages:
        _install(packages)


def _is_there(program: str) -> bool:
    return bool(shutil.which(program) or glob(ELSEWHERE.get(program, "")))


def _install(packages: list[str]) -> None:
    names = " ".join(packages)
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit(f"The tests and checks need {names}. Debian, Ubuntu: apt install {names}")
    print(f"Installing {names} ...", file=sys.stderr, flush=True)
    if "postgresql" in packages:
        _make_no_cluster()
    _apt_get("update")
    _apt_get("install", "--yes", "--no-install-recommends", *packages)


def _make_no_cluster() -> None:
    """Keep Debian from making a database, and starting a server on it, that nobody asked for."""
    if not NO_CLUSTER.exists():
        NO_CLUSTER.parent.mkdir(parents=True, exist_ok=True)
        NO_CLUSTER.write_text("create_main_cluster = false\n")


def _apt_get(*arguments: str) -> None:
    command = ["apt-get", "-qq", *arguments]
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, env=quiet, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed; see above.")
