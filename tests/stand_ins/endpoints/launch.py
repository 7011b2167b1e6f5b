"""W&B's GraphQL API as far as Launch's queues go: documents are validated, jobs stay where they were put."""

from __future__ import annotations

import base64
import json
from typing import Any

from graphql import GraphQLError, build_schema, graphql_sync

from tests.stand_ins.endpoints.endpoint import Arrived, Endpoint, Said, json_of

KEY = "0123456789abcdef0123456789abcdef01234567"
QUEUES_OF = "model-registry"
# As W&B's SDK writes its documents.
_SCHEMA = """
scalar JSONString
type Query { viewer: String }
type Mutation { pushToRunQueueByName(input: PushToRunQueueByNameInput!): PushToRunQueueByNamePayload }
input PushToRunQueueByNameInput {
  entityName: String! projectName: String! queueName: String! runSpec: JSONString!
  templateVariableValues: JSONString priority: Int
}
type PushToRunQueueByNamePayload { runQueueItemId: ID! runSpec: JSONString }
"""


class LaunchStandIn(Endpoint):
    """One entity, ``acme``, with one queue, ``gpu``.

    Attributes:
        items: The jobs in the queue.
        key: The API key that may fill it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._schema = build_schema(_SCHEMA)
        self.items: list[dict[str, Any]] = []
        self.key = KEY

    def decide(self, arrived: Arrived) -> Said:
        """W&B's answer."""
        pair = base64.b64encode(f"api:{self.key}".encode()).decode()
        if arrived.headers.get("authorization") != f"Basic {pair}":
            return _said(401, {"errors": [{"message": "user is not logged in"}]})
        asked = json_of(arrived)
        if arrived.path != "/graphql" or not isinstance(asked, dict):
            return _said(400, {"error": "bad request"})
        result = graphql_sync(
            self._schema,
            asked["query"],
            {"pushToRunQueueByName": self._push},
            variable_values=asked["variables"],
        )
        return _said(400 if result.data is None and result.errors else 200, result.formatted)

    def _push(self, _: Any, input: dict[str, Any]) -> dict[str, Any]:  # noqa: A002 - GraphQL's name for it
        place = (input["entityName"], input["projectName"], input["queueName"])
        if place != ("acme", QUEUES_OF, "gpu"):
            raise GraphQLError(f"queue {input['queueName']} not found")
        self.items.append(json.loads(input["runSpec"]))
        return {"runQueueItemId": f"UnVuUXVldWVJdGVtOjE={len(self.items)}", "runSpec": input["runSpec"]}


def _said(status: int, document: Any) -> Said:
    return Said(status, json.dumps(document).encode(), {"Content-Type": "application/json"})
