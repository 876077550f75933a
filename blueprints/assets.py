"""The page's scripts and styles, under a path that changes with them, so that browsers keep them for good.

Modules import each other by relative path, so one version in the first path is in all of them: no build step.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, current_app, send_from_directory

bp = Blueprint("assets", __name__)

FOLDER = Path(__file__).parent.parent / "static"
YEAR = 365 * 86_400  # seconds


def version_of(folder: Path) -> str:
    """A short digest of all files below the folder, their names and contents."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.*")):
        digest.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


@bp.app_url_defaults
def add_version(endpoint: str, values: dict[str, Any]) -> None:
    if endpoint == "assets.file":
        values.setdefault("version", current_app.extensions["assets_version"])


@bp.get("/static/<version>/<path:filename>")
def file(version: str, filename: str) -> Response:
    """A file as it is now; under another version's path, as in the middle of a deploy, it must not be kept."""
    is_current = version == current_app.extensions["assets_version"]
    response = send_from_directory(FOLDER, filename, max_age=YEAR if is_current else 0)
    response.cache_control.immutable = is_current
    return response
