"""Telling the receiver over HTTP: signed, to one address, with no redirect followed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from registry_client.base_url import shown_host
from registry_client.connections import Connections, check_transient, content, discard
from registry_client.errors import AccessDeniedError, ConfigurationError, FetchError
from registry_client.patience import patiently
from registry_client.report import HEADER, Report, signature

_OK, _UNAUTHORIZED, _NOT_FOUND = 200, 401, 404
_NOTED = "noted"  # The receiver's word where it knows what the report is of.
_MOST = 1024 * 1024
_MOST_SHOWN = 300


class Receiver:
    """One receiver, and the secret that it shares with the jobs that report to it."""

    def __init__(
        self, url: str, secret: str, connections: Connections, sleep: Callable[[float], object]
    ) -> None:
        self._url = url
        self._secret = secret.encode("utf-8")
        self._connections = connections
        self._sleep = sleep

    def tell(self, report: Report) -> bool:
        """Tell it, if need be more than once; False where it knows nothing of what started the job.

        Raises:
            AccessDeniedError: It does not take the signature.
            ConfigurationError: What answers takes no reports.
            FetchError: It could not be told.
        """
        body = report.to_bytes()
        headers = {"Content-Type": "application/json", HEADER: signature(body, self._secret)}
        status, answer = patiently(
            lambda: post(self._connections, self._url, body, headers), sleep=self._sleep
        )
        if status == _OK:
            return _known(answer)
        host, said = shown_host(self._url), message(answer)
        if status == _UNAUTHORIZED:
            raise AccessDeniedError(
                f"the receiver at {host} does not take the report: {said or status}; want the same "
                "HANDOFF_REPORT_SECRET in the job and there"
            )
        if status == _NOT_FOUND:
            raise ConfigurationError(
                f"nothing takes reports at {host}{urlsplit(self._url).path}: is that the receiver, and does "
                "it have a HANDOFF_REPORT_SECRET?"
            )
        raise FetchError(f"the receiver at {host} answered {status} to the report: {said or 'nothing'}")


def post(connections: Connections, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
    """Post once; status and body of the answer, whatever they are but transient."""
    response = connections.request("POST", url, headers=headers, body=body)
    try:
        check_transient(response, shown_host(url))
        return response.status, content(response, url, most=_MOST)
    finally:
        discard(response)


def message(answer: bytes) -> str:
    """What the answer says to a person; empty when that is nothing."""
    try:
        said = json.loads(answer)["message"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return str(said)[:_MOST_SHOWN]


def _known(answer: bytes) -> bool:
    try:
        return bool(json.loads(answer).get("status") == _NOTED)
    except (ValueError, AttributeError, RecursionError):
        return False
