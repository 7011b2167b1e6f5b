"""What can go wrong at the receiver: one error per thing the reader should do next."""

from __future__ import annotations

from collections.abc import Sequence


class ReceiverError(Exception):
    """The base of every error that this package raises on purpose; README explains each ``reason``."""

    reason = "receiver-error"


class SettingsError(ReceiverError):
    """One or more settings are missing, malformed or contradictory; ``problems`` has a line for each."""

    reason = "settings"

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class RejectedError(ReceiverError):
    """A webhook that is not taken.

    The message is for the sender, and W&B shows it to the person: it holds no secret and nothing of ours.
    """

    reason = "rejected"
    status = 400

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        if reason is not None:
            self.reason = reason


class UnauthorizedError(RejectedError):
    """The signature or the bearer token is missing or wrong."""

    reason = "unauthorized"
    status = 401


class BodyTooLargeError(RejectedError):
    """The body is over the limit."""

    reason = "body-too-large"
    status = 413


class NotJsonError(RejectedError):
    """The body is not JSON."""

    reason = "not-json"
    status = 400


class BadPayloadError(RejectedError):
    """The body is JSON, but no event that can be read, or one that GitHub would not take."""

    reason = "bad-payload"
    status = 422


class LedgerError(ReceiverError):
    """The ledger cannot be read or written now; nothing was kept."""

    reason = "ledger-unavailable"


class LedgerSchemaError(ReceiverError):
    """The ledger was written by a newer Handoff, or is no ledger."""

    reason = "ledger-schema"


class LostLeaseError(ReceiverError):
    """The lease on a dispatch ended, and it was taken over: our result must not overwrite theirs."""

    reason = "lost-lease"
