"""A receiver of Standard Webhooks that checks with the specification's own library."""

from __future__ import annotations

from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

from tests.stand_ins.endpoints.endpoint import Arrived, Endpoint, Said


class StandardWebhooksStandIn(Endpoint):
    """Takes what is signed with its secret; what comes twice changes nothing.

    Attributes:
        taken: What was taken, by its id.
    """

    def __init__(self, secret: str, **others: Any) -> None:
        super().__init__(**others)
        self._webhook = Webhook(secret)
        self.taken: dict[str, Any] = {}

    def decide(self, arrived: Arrived) -> Said:
        """204, or 401."""
        try:
            body = self._webhook.verify(arrived.body, dict(arrived.headers))
        except WebhookVerificationError as error:
            return Said(401, str(error).encode())
        self.taken.setdefault(arrived.headers["webhook-id"], body)
        return Said(204)
