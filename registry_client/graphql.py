"""One question to W&B in GraphQL: its answer, or an error that says what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from registry_client import queries
from registry_client.errors import (
    AccessDeniedError,
    ArtifactNotFoundError,
    ConfigurationError,
    FetchError,
    RegistryError,
)
from registry_client.patience import patiently
from registry_client.wire import Credential, Wire

_OK, _UNAUTHORIZED, _FORBIDDEN = 200, 401, 403
_DENIED = ("permission", "denied", "unauthorized", "not authorized", "forbidden")
_NOT_FOUND = ("not found", "could not find", "does not exist")
_UNKNOWN_FIELD = re.compile(r"Cannot query field [\"'](\w+)[\"'] on type")
_OPTIONAL = {"createdBy", "organization"}  # What a key may not see of them, it does without.
T = TypeVar("T")


class UnknownFieldError(FetchError):
    """The server is older than the question: it does not know these fields."""


class GraphQL:
    """Questions to one server; what it does not know is remembered, and not asked for again."""

    def __init__(self, wire: Wire, credential: Credential | None, sleep: Callable[[float], object]) -> None:
        self._wire = wire
        self._credential = credential
        self._sleep = sleep
        self._unknown: frozenset[str] = frozenset()
        self._too_new: set[str] = set()

    def ask(self, document: str, older: str | None = None, **variables: Any) -> dict[str, Any]:
        """The ``data`` of the answer to a document, or to its older form where the server is older.

        Raises:
            AccessDeniedError: The key is wrong, or may not read this.
            ArtifactNotFoundError: W&B says so itself.
            ConfigurationError: What answers is not W&B's API.
            FetchError: W&B could not be asked, or answered with a fault.
        """
        if older is None:
            return self._ask(document, variables)
        if document not in self._too_new:
            try:
                return self._ask(document, variables)
            except UnknownFieldError:
                self._too_new.add(document)
        return self._ask(older, variables)

    def read(self, reading: Callable[[], T]) -> T:
        """What is read from an answer; a form that we do not know is a FetchError."""
        try:
            return reading()
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise FetchError(
                f"{self._wire.host} answered in a form we do not know: {type(error).__name__}: {error}"
            ) from error

    def _ask(self, document: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        known = queries.without(document, self._unknown)
        wanted = {name: value for name, value in variables.items() if f"${name}:" in document}
        status, body = self._post({"query": known, "variables": wanted})
        answer, messages = _answer(body)
        unknown = {field for message in messages for field in _UNKNOWN_FIELD.findall(message)}
        left_out = unknown & queries.newer_fields(known)
        if left_out:
            self._unknown |= left_out
            return self._ask(document, variables)
        if unknown:
            raise UnknownFieldError(
                f"{self._wire.host} is too old: it does not know {', '.join(sorted(unknown))}"
            )
        data = (answer or {}).get("data")
        if status == _OK and not messages and isinstance(data, dict):
            return data
        does = "change" if queries.changes(document) else "read"
        raise self._refusal(status, messages, wanted, body if answer is None else None, does=does)

    def _post(self, question: Mapping[str, Any]) -> tuple[int, bytes]:
        status, body = patiently(lambda: self._wire.ask("/graphql", question), sleep=self._sleep)
        if status == _UNAUTHORIZED and self._credential is not None and self._credential.refused():
            return patiently(lambda: self._wire.ask("/graphql", question), sleep=self._sleep)
        return status, body

    def _refusal(
        self,
        status: int,
        messages: list[str],
        variables: Mapping[str, Any],
        not_json: bytes | None,
        *,
        does: str,
    ) -> RegistryError:
        host, said = self._wire.host, "; ".join(messages)[:300]
        whose = "anybody without a key" if self._credential is None else str(self._credential)
        if status == _UNAUTHORIZED:
            return AccessDeniedError(self._wrong_key())
        if status == _FORBIDDEN or _any_of(_DENIED, said):
            what = f"entity {variables['entity']!r}" if "entity" in variables else "this"
            return AccessDeniedError(f"{host} does not let {whose} {does} {what}: {said or _status(status)}")
        if _any_of(_NOT_FOUND, said):
            return ArtifactNotFoundError(f"{host}: {said}")
        if not_json is not None:
            page = "a web page" if b"<html" in not_json[:2000].lower() else "no JSON"
            return ConfigurationError(
                f"{host} answered {status} and {page} to /graphql, where W&B's API was expected: "
                "is WANDB_BASE_URL that of the API, such as https://api.wandb.ai, and nothing in between?"
            )
        return FetchError(f"{host} answered {status}: {said or 'without data'}")

    def _wrong_key(self) -> str:
        host = self._wire.host
        if self._credential is None:
            return f"{host} wants a key, and none was given: set WANDB_API_KEY"
        return (
            f"{host} does not know {self._credential}: want a key made on this server, "
            "and not revoked; WANDB_BASE_URL says which server is asked"
        )


def _answer(body: bytes) -> tuple[dict[str, Any] | None, list[str]]:
    """The JSON object, if it is one, and the messages of all errors in it, in any of W&B's forms."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None, []
    if not isinstance(answer, dict):
        return None, []
    errors = answer.get("errors") or ([answer["error"]] if answer.get("error") else [])
    errors = errors if isinstance(errors, list) else [errors]
    told = [each for each in errors if not _concerns_the_optional(each)]
    return answer, [str(each.get("message", each) if isinstance(each, dict) else each) for each in told]


def _concerns_the_optional(error: Any) -> bool:
    path = error.get("path") if isinstance(error, dict) else None
    return isinstance(path, list) and any(each in _OPTIONAL for each in path if isinstance(each, str))


def _status(status: int) -> str:
    return f"it answered {status}"


def _any_of(words: tuple[str, ...], said: str) -> bool:
    return any(word in said.lower() for word in words)
