"""Scripts and styles: kept for good under the path of their version, never under another."""

import re
from pathlib import Path

import pytest
from werkzeug.test import TestResponse

from blueprints import assets
from tests.site import Site

YEAR = 365 * 86_400


def kept(header: str) -> dict[str, str]:
    """Cache-Control as a table."""
    return {part.strip().partition("=")[0]: part.strip().partition("=")[2] for part in header.split(",")}


@pytest.fixture
def version(site: Site) -> str:
    return site.app.extensions["assets_version"]


def fetch(site: Site, path: str) -> TestResponse:
    """A file, read whole and closed."""
    with site.call("anonymous", "GET", path) as answer:
        assert answer.data is not None
    return answer


def names() -> list[str]:
    return [str(path.relative_to(assets.FOLDER)) for path in sorted(assets.FOLDER.rglob("*.*")) if path.is_file()]


def test_a_file_of_this_version_is_kept_for_a_year_and_never_asked_for_again(site: Site, version: str) -> None:
    assert len(names()) > 3
    for name in names():
        answer = fetch(site, f"/static/{version}/{name}")
        assert (answer.status_code, answer.data) == (200, assets.FOLDER.joinpath(name).read_bytes()), name
        rule = kept(answer.headers["Cache-Control"])
        assert (rule["max-age"], "immutable" in rule, "no-store" in rule) == (str(YEAR), True, False), name


@pytest.mark.parametrize("other", ["x", "000000000000", "{}0", "{}%20"])
def test_under_another_versions_path_it_is_served_and_not_kept(site: Site, version: str, other: str) -> None:
    """In the middle of a deploy: kept under the new path, the old file would stay there for a year."""
    for name in names():
        answer = fetch(site, f"/static/{other.format(version)}/{name}")
        assert answer.status_code == 200, name
        rule = kept(answer.headers["Cache-Control"])
        assert "immutable" not in rule, name
        assert rule.get("max-age", "0") == "0", name
        assert "no-cache" in rule or "no-store" in rule or rule.get("max-age") == "0", name


def test_pages_name_this_version(site: Site, version: str) -> None:
    paths = re.findall(r'(?:src|href)="(/static/[^"]+)"', site.call("anonymous", "GET", "/login").text)
    assert paths
    for path in paths:
        assert path.startswith(f"/static/{version}/")
        assert fetch(site, path).status_code == 200, path


def test_a_version_is_that_of_names_and_contents(tmp_path: Path) -> None:
    seen = set()
    for name, text in (("a.js", "1"), ("a.js", "2"), ("b.js", "2")):
        folder = tmp_path / str(len(seen))
        folder.mkdir()
        (folder / name).write_text(text)
        assert assets.version_of(folder) == assets.version_of(folder)
        seen.add(assets.version_of(folder))
    assert len(seen) == 3
    assert all(re.fullmatch("[0-9a-f]{12}", version) for version in seen)
