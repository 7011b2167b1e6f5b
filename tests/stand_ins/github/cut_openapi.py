"""Cut the paths that we speak out of GitHub's OpenAPI description, with all they refer to and no prose.

Run as ``python tests/stand_ins/github/cut_openapi.py PATH/TO/api.github.com.json``; see OPENAPI.md.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

OPERATIONS = (
    ("/app", "get"),
    ("/app/installations/{installation_id}/access_tokens", "post"),
    ("/rate_limit", "get"),
    ("/repos/{owner}/{repo}", "get"),
    ("/repos/{owner}/{repo}/actions/runs", "get"),
    ("/repos/{owner}/{repo}/actions/workflows/{workflow_id}/dispatches", "post"),
    ("/repos/{owner}/{repo}/contents/{path}", "get"),
    ("/repos/{owner}/{repo}/deployments", "post"),
    ("/repos/{owner}/{repo}/deployments/{deployment_id}/statuses", "post"),
    ("/repos/{owner}/{repo}/dispatches", "post"),
    ("/repos/{owner}/{repo}/installation", "get"),
)
EVENTS = (("schemas", "webhook-repository-dispatch-sample"),)
_PROSE = frozenset({"description", "summary", "example", "examples", "externalDocs", "title", "tags"})
_HINTS = frozenset(
    {"discriminator"}
)  # It only hints at which of several schemas holds, and validators trip on it.
_NAMES_BELOW = frozenset({"properties", "parameters", "responses", "headers", "schemas", "content"})
_REFERENCE = re.compile(r"#/components/([^/]+)/([^/]+)")


def cut(whole: dict[str, Any]) -> dict[str, Any]:
    """Return the slice: our operations, the event of a dispatch, and the components that they reach."""
    paths: dict[str, Any] = {}
    for path, method in OPERATIONS:
        item = whole["paths"][path]
        kept = {name: item[name] for name in ("parameters", method) if name in item}
        paths.setdefault(path, {}).update(_bare(kept))
    return {
        "openapi": whole["openapi"],
        "info": {key: whole["info"][key] for key in ("title", "version", "license")},
        "servers": [{"url": "https://api.github.com"}],
        "paths": paths,
        "components": _reached(whole["components"], [*_references(paths), *EVENTS]),
    }


def _bare(node: Any, parent: str = "") -> Any:
    """Return the node without prose, hints and extensions; below ``properties`` a name is only a name."""
    if isinstance(node, list):
        return [_bare(item) for item in node]
    if not isinstance(node, dict):
        return node
    if parent in _NAMES_BELOW:
        required = {"description": ""} if parent == "responses" else {}  # The one place that asks for prose.
        return {key: value if "$ref" in value else required | _bare(value) for key, value in node.items()}
    return {
        key: _bare(value, key)
        for key, value in node.items()
        if key not in _PROSE | _HINTS and not key.startswith("x-")
    }


def _reached(components: dict[str, Any], roots: list[tuple[str, str]]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    waiting = list(roots)
    while waiting:
        kind, name = waiting.pop()
        if name in kept.setdefault(kind, {}):
            continue
        kept[kind][name] = _bare({name: components[kind][name]}, kind)[name]
        waiting.extend(_references(kept[kind][name]))
    return {kind: dict(sorted(named.items())) for kind, named in sorted(kept.items())}


def _references(node: Any) -> Iterator[tuple[str, str]]:
    if isinstance(node, list):
        for item in node:
            yield from _references(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref" and isinstance(value, str) and (match := _REFERENCE.fullmatch(value)):
                yield match[1], match[2]
            else:
                yield from _references(value)


def main() -> None:
    """Read the whole description, write the slice beside this file."""
    whole = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    slice_ = json.dumps(cut(whole), separators=(",", ":"), sort_keys=True)
    Path(__file__).with_name("openapi.json").write_text(slice_ + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
