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
        {"allowance", "durations", "errors", "framing", "secret"},
        {"delivery", "dispatch", "event", "strict_json"},
        {"answer", "bearer", "budget", "listing", "plan", "retry", "retry_after", "signature", "urls"},
        {"exchange", "front", "github", "github_app", "log", "process_lock", "settings"},
        {"ledger"},
        {"dispatcher", "intake"},
        {"__init__", "__main__", "alone", "cli", "ledger_cli", "serve", "service", "views", "worker"},
    ),
}
# The ledger is a house of its own: its rooms know each other, and nobody else's I/O but the process lock.
LEDGER = {
    *("__init__", "accepts", "claims", "moving", "notices", "pauses", "records", "redeliveries"),
    *("retention", "schema", "statements", "turns", "writes"),
}
LEDGER_KNOWS = {"budget", "delivery", "dispatch", "errors", "process_lock", "retry"}
# A library that only these modules may import.
KEPT_IN = {
    "flask": {"receiver.__init__", "receiver.views"},
    "gunicorn": {"receiver.serve", "receiver.worker"},
    "sqlalchemy": {f"receiver.ledger.{room}" for room in LEDGER},
    "psycopg": {f"receiver.ledger.{room}" for room in ("moving", "notices", "writes")},
    "jwt": {"receiver.github_app"},
    "boto3": {"registry_client.s3_files"},
    "botocore": {"registry_client.s3_files"},
    "google": {"registry_client.gs_files"},
    "google_crc32c": {"registry_client.gs_files"},
    "azure": {"registry_client.az_files"},
}
EXTRAS = {"azure", "boto3", "botocore", "google", "google_crc32c", "xxhash"}


def modules(package: str) -> list[str]:
    """The modules of a package, and the packages in it."""
    here = ROOT / package
    return sorted(
        [*(path.stem for path in here.glob("*.py")), *(p.parent.name for p in here.glob("*/__init__.py"))]
    )


def files(package: str) -> list[tuple[str, str]]:
    """Every file of a package and of those in it, as ``(package, module)``."""
    inner = [name for name in modules(package) if (ROOT / package / name).is_dir()]
    flat = [(package, name) for name in modules(package) if name not in inner]
    return flat + [(f"{package}.{name}", room) for name in inner for room in modules(f"{package}/{name}")]


def imports(package: str, module: str) -> Iterator[str]:
    """Every module that this one imports, anywhere in its text."""
    path = ROOT / package.replace(".", "/") / f"{module}.py"
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor(package: str, module: str) -> int:
    return next(number for number, names in enumerate(FLOORS[package]) if module in names)


EVERY = [each for package in FLOORS for each in files(package)]


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
    Of its own package a module imports its own floor and those below.
    """
    top, _, inner = package.partition(".")
    own = floor(top, inner or module)
    for name in imports(package, module):
        other = [*name.split("."), ""][1]
        if name.split(".")[0] == top and other in modules(top):
            assert floor(top, other) <= own, f"{package}.{module} imports {name}"


def test_the_ledger_is_a_house_of_its_own() -> None:
    """
    Its rooms are these, and beside each other they know types, pure rules and the process lock.
    """
    known = {
        name for room in LEDGER for name in imports("receiver.ledger", room) if name.startswith("receiver.")
    }
    others = {name.split(".")[1] for name in known} - {"ledger"}

    assert set(modules("receiver/ledger")) == LEDGER
    assert others <= LEDGER_KNOWS


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
    Beside the standard library, registry_client imports requests (and, where they are there, its extras).
    """
    tops = {
        name.split(".")[0]
        for module in modules("registry_client")
        for name in imports("registry_client", module)
    }
    foreign = tops - set(sys.stdlib_module_names) - {"registry_client"}

    assert foreign <= {"requests", "urllib3"} | EXTRAS


def test_the_map_names_every_module() -> None:
    """
    CONTRIBUTING.md's map has every file of both packages, and none that is gone.
    """
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    drawn = set(re.findall(r"(?:^|\s)(\w+\.py)\b", text.split("```")[1]))

    assert drawn == {f"{module}.py" for _, module in EVERY}
