"""The judge: GitHub's own OpenAPI description, asked about every request and every answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from openapi_core import OpenAPI
from openapi_core.exceptions import OpenAPIError
from openapi_core.testing import MockRequest, MockResponse
from openapi_schema_validator import OAS30Validator

API = "https://api.github.com"
_EVENT = "webhook-repository-dispatch-sample"
# They happen at every path and the description lists them at few: their body is judged alone.
_UNLISTED = frozenset({301, 302, 307, 308, 400, 401, 403, 404, 422, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Broken:
    """A rule of a schema that a value breaks: ``keyword`` with its ``limit``, at ``path``."""

    keyword: str
    limit: Any
    value: Any
    path: tuple[str, ...]
    words: str

    def __str__(self) -> str:
        return f"{'/'.join(self.path) or 'body'}: {self.words}"


class Description:
    """GitHub's description of the paths that we speak."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._api = OpenAPI.from_dict(document)
        self._lock = threading.Lock()

    @property
    def paths(self) -> Mapping[str, Mapping[str, Any]]:
        """The path templates, each with its methods."""
        paths: Mapping[str, Mapping[str, Any]] = self._document["paths"]
        return paths

    def refuses(self, request: MockRequest) -> Sequence[Broken | str]:
        """Say why the description refuses the request: nothing when it does not."""
        with self._lock:
            try:
                self._api.validate_request(request)
            except OpenAPIError as refusal:
                return list(_broken(refusal)) or [_words(refusal)]
        return ()

    def disagrees(self, request: MockRequest, status: int, content_type: str, body: bytes) -> str | None:
        """Say where an answer to the request is not as described; None when it is."""
        operation = self.paths[request.path_pattern or ""][request.method]
        if str(status) not in operation["responses"]:
            return self._disagrees_unlisted(status, body)
        if not body and "content" not in self._response(operation["responses"][str(status)]):
            return None
        response = MockResponse(body, status_code=status, content_type=content_type)
        with self._lock:
            try:
                self._api.validate_response(request, response)
            except OpenAPIError as refusal:
                return _words(refusal)
        return None

    def disagrees_with_event(self, event: Mapping[str, Any]) -> str | None:
        """Say where an event file is not as GitHub describes a ``repository_dispatch`` event."""
        schema = {**self._document, "$ref": f"#/components/schemas/{_EVENT}"}
        problem = next(iter(OAS30Validator(schema).iter_errors(event)), None)
        return None if problem is None else f"{problem.json_path}: {problem.message}"

    def _disagrees_unlisted(self, status: int, body: bytes) -> str | None:
        if status not in _UNLISTED:
            return f"status {status} is not described"
        schema = {**self._document, "$ref": "#/components/schemas/basic-error"}
        problem = next(iter(OAS30Validator(schema).iter_errors(json.loads(body))), None)
        return None if problem is None else problem.message

    def _response(self, response: dict[str, Any]) -> dict[str, Any]:
        if "$ref" in response:
            named: dict[str, Any] = self._document["components"]["responses"][
                response["$ref"].rpartition("/")[2]
            ]
            return named
        return response


@lru_cache(maxsize=1)
def load() -> Description:
    """Return the slice beside this file, loaded once: it never changes while a program runs."""
    return Description(json.loads(Path(__file__).with_name("openapi.json").read_text(encoding="utf-8")))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _broken(refusal: BaseException) -> Iterator[Broken]:
    for error in _chain(refusal):
        for rule in getattr(error, "schema_errors", ()):
            path = tuple(str(part) for part in rule.absolute_path)
            yield Broken(rule.validator, rule.validator_value, rule.instance, path, rule.message)


def _words(refusal: BaseException) -> str:
    return "; ".join(str(error) for error in [*_chain(refusal), *_broken(refusal)])
