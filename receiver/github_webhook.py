"""GitHub's own webhooks: signed by GitHub, and telling how a run goes.  Pure, no I/O."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass

from receiver.errors import BadPayloadError, UnauthorizedError
from receiver.run import Run

HEADER = "X-Hub-Signature-256"
EVENT_HEADER = "X-GitHub-Event"
_PREFIX = "sha256="


@dataclass(frozen=True)
class RunNews:
    """What a ``workflow_run`` webhook tells."""

    repository: str
    run: Run


def check_signature(body: bytes, header: str | None, secrets: Sequence[bytes]) -> None:
    """Pass when the body is signed with one of the secrets, as GitHub signs.

    Raises:
        UnauthorizedError: There is no signature, or it is none of ours.
    """
    if header is None:
        raise UnauthorizedError(
            f"{HEADER}: is missing; set the webhook's secret at GitHub.", reason="missing-signature"
        )
    told = header.strip().removeprefix(_PREFIX).encode("utf-8", "replace")
    right = [hmac.new(secret, body, hashlib.sha256).hexdigest().encode("ascii") for secret in secrets]
    if not any([hmac.compare_digest(told, each) for each in right]):  # noqa: C419 - all, whichever fits
        raise UnauthorizedError(
            f"{HEADER}: was made with another secret, or over other bytes.", reason="bad-signature"
        )


def read_run(event: str | None, body: bytes) -> RunNews | None:
    """What the webhook tells of a run; None for every other event.

    Raises:
        BadPayloadError: It says ``workflow_run`` and holds none.
    """
    if event != "workflow_run":
        return None
    try:
        data = json.loads(body)
        return RunNews(str(data["repository"]["full_name"]), Run.parse(data["workflow_run"]))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise BadPayloadError(
            f"The body: want GitHub's workflow_run, got something else ({type(error).__name__}).",
            reason="bad-workflow-run",
        ) from error
