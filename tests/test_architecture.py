"""Who may import whom, and where the machine is touched: CONTRIBUTING.md's map, held true."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Errors ← types ← pure rules ← I/O ← stories ← edges: a module imports from floors below its own.
FLOORS = {
    "registry_client": (
        {"errors", "reference"},
        {"version"},
        {
            *("base_url", "build_context_recipe", "digest", "escaping", "expect", "inputs", "lanes"),
            *("listing", "manifest", "mark", "origins", "outputs", "parts", "patience", "progress"),
            *("provenance", "queries", "record", "references", "report", "report_inputs", "report_summary"),
            *("safe_paths", "selection", "sizes", "stored", "summary", "trigger", "xxh128", "xxh128_pure"),
        },
        # Its I/O: what the system gives, one file or connection, one version, one server.
        {"environment", "files", "parallel", "signals", "workflow"},
        {"cache", "connections", "journal", "present", "staging"},
        {"oidc", "partial", "report_post", "wire"},
        {
            *("az_files", "credentials", "graphql", "gs_files", "https_files", "report_deployment"),
            *("s3_files", "transfer"),
        },
        {"api", "assembly", "mark_api", "outside"},
        {"build_context", "download", "filling", "following", "papers", "resolve", "single", "writeback"},
        {"__init__", "__main__", "cli", "mark_cli", "report_step"},
    ),
    "receiver": (
        {"allowance", "durations", "errors", "framing", "moment", "secret", "time_limit"},
        {"delivery", "dispatch", "event", "run", "strict_json"},
        {"routing"},
        {
            *("answer", "bearer", "budget", "explained", "github_webhook", "listing", "missed", "notice"),
            *("plan", "retry", "retry_after", "signature", "telling", "urls"),
        },
        {"exchange", "front", "github", "github_app", "log", "process_lock", "settings"},
        {"destinations"},
        {"config"},
        {"ledger"},
        {"checks", "dispatcher", "doors", "intake", "promotion", "reconcile", "reports", "tracker"},
        {
            *("__init__", "__main__", "alone", "application", "cli", "config_cli", "ledger_cli", "outlets"),
            *("reconciler", "serve", "service", "views", "worker"),
        },
    ),
}
# The ledger is a house of its own: its rooms know each other, and nobody else's I/O but the process lock.
LEDGER = {
    *("__init__", "accepts", "claims", "memory", "moving", "notices", "pauses", "records", "redeliveries"),
    *("retention", "runs", "schema", "statements", "turns", "writes"),
}
LEDGER_KNOWS = {
    *("budget", "delivery", "dispatch", "errors", "process_lock", "retry", "run", "telling"),
}
# A library that only these modules may import.
KEPT_IN = {
    "flask": {"receiver.__init__", "receiver.application", "receiver.views"},
    "yaml": {"receiver.checks.workflow_file", "receiver.config.document"},
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
# What the client may import where it is installed, inside a function; requests comes with Google's SDK.
EXTRAS = {"azure", "boto3", "botocore", "google", "google_crc32c", "requests", "xxhash"}


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
    yield from _imported(ast.walk(_parsed(package, module)))


def imports_at_once(package: str, module: str) -> Iterator[str]:
    """Every module that this one imports when it is imported itself."""
    yield from _imported(_parsed(package, module).body)


def _parsed(package: str, module: str) -> ast.Module:
    path = ROOT / package.replace(".", "/") / f"{module}.py"
    return ast.parse(path.read_text(encoding="utf-8"))


def _imported(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
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


def test_the_client_needs_urllib3_and_certifi_alone() -> None:
    """
    Beside the standard library, registry_client imports these two, and its extras when it uses them.
    """
    client = [("registry_client", module) for module in modules("registry_client")]
    ours = set(sys.stdlib_module_names) | {"registry_client", "urllib3", "certifi"}
    foreign = {name.split(".")[0] for each in client for name in imports(*each)} - ours
    at_once = {name.split(".")[0] for each in client for name in imports_at_once(*each)} - ours

    assert foreign <= EXTRAS
    assert not at_once


@pytest.mark.parametrize("package", FLOORS)
def test_the_map_names_every_module(package: str) -> None:
    """
    CONTRIBUTING.md's map has every file of a package in the blocks that begin with its name, and no other.
    """
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    blocks = re.findall(rf"^```\n{package}/(.*?)^```", text, re.MULTILINE | re.DOTALL)
    drawn = re.findall(r"(?:^|\s)(\w+\.py)\b", "\n".join(blocks))
    there = [f"{module}.py" for each, module in EVERY if each.partition(".")[0] == package]

    assert sorted(drawn) == sorted(there)
