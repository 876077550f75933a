"""Programs that are no Python packages: used if there, installed on a Debian as root, else asked for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

# What we call, and the Debian packages that bring it. Chromium without a font draws empty boxes.
PACKAGES = {
    "chromium": ["chromium", "fonts-liberation"],
    "node": ["nodejs"],
    "nginx": ["nginx-light"],
    "haproxy": ["haproxy"],
    "openssl": ["openssl"],
}


def ensure(*programs: str) -> None:
    """Make sure that the programs are on PATH; exits with a hint when they cannot be installed."""
    packages = [package for program in programs if not shutil.which(program) for package in PACKAGES[program]]
    if packages:
        _install(packages)


def _install(packages: list[str]) -> None:
    names = " ".join(packages)
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit(f"The tests and checks need {names}. Debian, Ubuntu: apt install {names}")
    print(f"Installing {names} ...", file=sys.stderr, flush=True)
    _apt_get("update")
    _apt_get("install", "--yes", "--no-install-recommends", *packages)


def _apt_get(*arguments: str) -> None:
    command = ["apt-get", "-qq", *arguments]
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, env=quiet, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed; see above.")
