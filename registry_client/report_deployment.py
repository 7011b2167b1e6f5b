"""GitHub's deployments: one is created, and told how it went."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from registry_client.base_url import shown_host
from registry_client.connections import Connections
from registry_client.errors import AccessDeniedError, ConfigurationError, FetchError, RegistryError
from registry_client.patience import TransientError, patiently
from registry_client.report_post import message, post

STATES = {"success": "success", "failure": "failure", "cancelled": "error"}  # A job's word, and GitHub's.
_CREATED = 201
_DENIED = {401, 403, 404}
_LONGEST_DESCRIPTION = 140


class Deployments:
    """The deployments of one repository, as one token may write them."""

    def __init__(
        self,
        api_url: str,
        repository: str,
        token: str,
        connections: Connections,
        sleep: Callable[[float], object],
    ) -> None:
        self._url = f"{api_url.rstrip('/')}/repos/{repository}/deployments"
        self._token = token
        self._connections = connections
        self._sleep = sleep

    def create(self, ref: str, environment: str, description: str, payload: Mapping[str, Any]) -> int:
        """Create one, whatever the commit's checks say: the job has run already; its id.

        It is asked for once: when no answer comes, a second try might create a second one.
        """
        asked = {
            "ref": ref,
            "environment": environment,
            "description": _cut(description),
            "payload": dict(payload),
            "auto_merge": False,
            "required_contexts": [],
        }
        try:
            created = self._post(self._url, asked)
        except TransientError as error:
            raise FetchError(f"{error}; whether the deployment was created is not known") from error
        number = created.get("id")
        if not isinstance(number, int):
            raise FetchError(f"{shown_host(self._url)} created a deployment and did not say which")
        return number

    def tell(self, deployment: int, state: str, description: str, *, log_url: str, url: str) -> None:
        """Say how it went; where it succeeded, GitHub ends the environment's earlier one."""
        asked = {"state": state, "description": _cut(description), "log_url": log_url, "environment_url": url}
        given = {name: value for name, value in asked.items() if value}
        patiently(lambda: self._post(f"{self._url}/{deployment}/statuses", given), sleep=self._sleep)

    def _post(self, url: str, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        headers = {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {self._token}",
            "Content-Type": "application/json",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        status, answer = post(self._connections, url, json.dumps(asked).encode("ascii"), headers)
        if status != _CREATED:
            raise _refused(status, shown_host(url), message(answer))
        try:
            created = json.loads(answer)
        except ValueError as error:
            raise FetchError(f"{shown_host(url)} answered {status} and no JSON") from error
        return created if isinstance(created, dict) else {}


def _refused(status: int, host: str, said: str) -> RegistryError:
    told = f"{host} answered {status} to a deployment: {said or 'nothing'}"
    if status in _DENIED:
        return AccessDeniedError(f"{told}; want `permissions: deployments: write` in the job")
    return ConfigurationError(told)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_DESCRIPTION else f"{text[: _LONGEST_DESCRIPTION - 1]}…"
