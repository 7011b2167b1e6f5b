"""Who may import whom, and where the machine is touched: CONTRIBUTING.md's map, held true."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Errors ← types ← pure rules ← I/O ← stories ← edges: a module imports from floors below its own.
FLOORS = {
    "registry_client": (
        {"errors", "reference"},
        {"version"},
        {
            *("digest", "escaping", "inputs", "manifest", "outputs", "progress", "queries", "record"),
            *("summary", "trigger", "xxh128", "xxh128_pure"),
        },
        {"api", "credentials", "files", "transfer", "wire", "workflow"},
        {"download", "resolve"},
        {"__init__", "__main__", "cli"},
    ),
    "receiver": (
        {"errors", "secret"},
        {"delivery", "dispatch", "event", "strict_json"},
        {"answer", "bearer", "listing", "plan", "retry", "retry_after", "schema", "signature"},
        {"exchange", "github", "github_app", "ledger", "process_lock", "settings", "writes"},
        {"dispatcher", "intake"},
        {"__init__", "__main__", "cli", "serve", "views"},
    ),
}
# A library that only these modules may import.
KEPT_IN = {
    "flask": {"receiver.__init__", "receiver.views"},
    "gunicorn": {"receiver.serve"},
    "sqlalchemy": {"receiver.schema", "receiver.writes", "receiver.ledger"},
    "jwt": {"receiver.github_app"},
}


def modules(package: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / package).glob("*.py"))


def imports(package: str, module: str) -> Iterator[str]:
    """Every module that this one imports, anywhere in its text."""
    for node in ast.walk(ast.parse((ROOT / package / f"{module}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor(package: str, module: str) -> int:
    return next(number for number, names in enumerate(FLOORS[package]) if module in names)


EVERY = [(package, module) for package in FLOORS for module in modules(package)]


@pytest.mark.parametrize("package", FLOORS)
def test_every_module_has_a_floor(package: str) -> None:
    """
    The floors name every module once, and none that is not there.
    """
    named = [name for names in FLOORS[package] for name in names]

    assert sorted(named) == modules(package)


@pytest.mark.parametrize(("package", "module"), EVERY, ids=lambda part: part)
def test_imports_point_down(package: str, module: str) -> None:
    """
    Of its own package a module imports lower floors only, or its own floor when both are pure or types.
    """
    own = floor(package, module)
    for name in imports(package, module):
        top, _, other = name.partition(".")
        if top == package and other and other in modules(package):
            assert floor(package, other) <= own, f"{package}.{module} imports {name}"


@pytest.mark.parametrize("module", modules("registry_client"))
def test_the_client_never_needs_the_receiver(module: str) -> None:
    """
    registry_client imports nothing of receiver.
    """
    assert not [name for name in imports("registry_client", module) if name.split(".")[0] == "receiver"]


@pytest.mark.parametrize(("package", "module"), EVERY, ids=lambda part: part)
def test_a_library_stays_in_its_room(package: str, module: str) -> None:
    """
    Flask is known to the web half, SQLAlchemy to the ledger, gunicorn to serve, PyJWT to the App.
    """
    tops = {name.split(".")[0] for name in imports(package, module)}

    assert not {library for library in tops & set(KEPT_IN) if f"{package}.{module}" not in KEPT_IN[library]}


def test_the_client_needs_requests_alone() -> None:
    """
    Beside the standard library, registry_client imports requests (and, where it is there, xxhash).
    """
    tops = {
        name.split(".")[0]
        for module in modules("registry_client")
        for name in imports("registry_client", module)
    }
    foreign = tops - set(sys.stdlib_module_names) - {"registry_client"}

    assert foreign <= {"requests", "urllib3", "xxhash"}


def test_the_map_names_every_module() -> None:
    """
    CONTRIBUTING.md's map has every file of both packages, and none that is gone.
    """
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    drawn = set(re.findall(r"(?:^|\s)(\w+\.py)\b", text.split("```")[1]))

    assert drawn == {f"{module}.py" for package in FLOORS for module in modules(package)}
