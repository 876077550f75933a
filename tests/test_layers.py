"""Imports go downwards only: app -> blueprints -> agents -> chat -> realtime -> the standard library."""

import ast
from pathlib import Path
from sys import stdlib_module_names

import pytest

ROOT = Path(__file__).parent.parent

# Each may import what stands behind it in this order, and itself; never what stands before it.
LAYERS = ["app", "blueprints", "agents", "chat", "realtime"]
FORBIDDEN = {
    "agents": {"flask", "flask_login", "werkzeug"},
    "chat": {"flask", "flask_login", "werkzeug"},
    "realtime": {"flask", "flask_login", "werkzeug", "sqlalchemy", "alembic"},
}
PUBSUB = {"publish", "spublish", "pubsub", "subscribe", "psubscribe", "ssubscribe"}
BUS = {f"realtime.{name}" for name in ("cluster", "ear", "links", "listener", "publisher")}


def modules(layer: str) -> list[Path]:
    """The layer's files; every layer has some, or the test would say nothing."""
    found = [ROOT / "app.py"] if layer == "app" else sorted((ROOT / layer).rglob("*.py"))
    assert found, f"no module of {layer} was seen"
    return found


def imports(path: Path) -> set[str]:
    """The full names of all that a file imports, wherever in it: `chat.log`, `chat.log.append`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            source = origin(node, path)
            names |= {source} | {f"{source}.{alias.name}" for alias in node.names}
    return names


def origin(node: ast.ImportFrom, path: Path) -> str:
    """Where `from ... import` takes from, with the dots of a relative import written out."""
    if not node.level:
        return node.module or ""
    package = path.relative_to(ROOT).parts[: -node.level]
    return ".".join([*package, *filter(None, [node.module])])


def roots(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def makes_a_blueprint(path: Path) -> bool:
    """Tell a blueprint from what blueprints share (guards, parsing): it has a `bp` of its own."""
    assignments = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Assign)]
    return any(ast.unparse(target) == "bp" for node in assignments for target in node.targets)


def attributes(path: Path) -> set[str]:
    return {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}


def commands(path: Path) -> set[str]:
    """The words of its texts, as far as they are alone in theirs: `PUBLISH` as a command."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return {node.value.lower() for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_nothing_from_above(layer: str) -> None:
    above = set(LAYERS[: LAYERS.index(layer)])
    found = {path.name: roots(path) & above for path in modules(layer)}
    assert not any(found.values()), found


@pytest.mark.parametrize(("layer", "names"), FORBIDDEN.items())
def test_a_layer_keeps_to_its_own_matters(layer: str, names: set[str]) -> None:
    found = {path.name: roots(path) & names for path in modules(layer)}
    assert not any(found.values()), found


def test_nothing_in_blueprints_imports_a_blueprint() -> None:
    blueprints = {module_name(path) for path in modules("blueprints") if makes_a_blueprint(path)}
    assert len(blueprints) > 3
    found = {path.name: imports(path) & blueprints for path in modules("blueprints")}
    assert not any(found.values()), found


def test_only_the_bus_touches_redis_pubsub() -> None:
    paths = [path for layer in LAYERS for path in modules(layer)]
    touching = {module_name(path) for path in paths if (attributes(path) | commands(path)) & PUBSUB}
    assert touching == BUS


def test_the_supervisor_needs_nothing_but_the_standard_library() -> None:
    for path in [ROOT / "supervisor.py", *sorted((ROOT / "bin").glob("_*.py"))]:
        assert roots(path) <= stdlib_module_names


READERS = ("lines", "webhook")  # whose generators read a request, and end before their view does


def generators(path: Path) -> list[ast.FunctionDef]:
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    return [each for each in functions if any(isinstance(node, ast.Yield | ast.YieldFrom) for node in ast.walk(each))]


def test_nothing_that_runs_after_its_view_uses_the_request() -> None:
    """P66, P67: a generator outlives request and session; what it reads is gone, what it writes is lost."""
    found = [each for path in modules("blueprints") for each in generators(path) if path.stem not in READERS]
    assert [each.name for each in found] == ["serve"]
    for each in found:
        names = {node.id for node in ast.walk(each) if isinstance(node, ast.Name)}
        assert not names & {"request", "session", "current_user", "viewer", "store", "g"}, each.name


def test_gunicorn_is_installed_with_what_its_gevent_worker_needs() -> None:
    """P65: without the extra a clean machine has no `packaging`, and the worker does not start."""
    assert "gunicorn[gevent]" in (ROOT / "requirements.in").read_text()
    assert "\npackaging==" in (ROOT / "requirements.txt").read_text()
