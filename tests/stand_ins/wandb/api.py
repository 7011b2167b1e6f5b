"""W&B's API over HTTP: GraphQL, and the addresses that lead to a file's signed one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import Flask, jsonify, redirect, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from tests.stand_ins.wandb import graph
from tests.stand_ins.wandb.faults import Fault
from tests.stand_ins.wandb.federation import NotTrustedError
from tests.stand_ins.wandb.spoiling import spoiled
from tests.stand_ins.wandb.state import User

if TYPE_CHECKING:
    from tests.stand_ins.wandb.stand_in import WandbStandIn

# How many parts follow the entity in a file's address, and which features know that form.
_FORMS: dict[int, set[str]] = {
    2: set(),
    5: {"ARTIFACT_COLLECTION_MEMBERSHIP_FILE_DOWNLOAD_HANDLER"},
    6: {
        "ARTIFACT_COLLECTION_MEMBERSHIP_FILE_DOWNLOAD_HANDLER",
        "ARTIFACT_V2_DOWNLOAD_HANDLER_SUPPORTS_ARTIFACT_ID",
    },
}
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def create_app(wandb: WandbStandIn) -> Flask:
    """The API of this stand-in."""
    app = Flask("wandb-stand-in")
    app.config["PROPAGATE_EXCEPTIONS"] = True  # A reset on demand must reach the server, unlogged.

    @app.post("/graphql")
    def graphql() -> Response:
        asked = request.get_json(silent=True) or {}
        query = str(asked.get("query", ""))
        operation = graph.operation_name(query)
        wandb.record("api", request, operation=operation, variables=asked.get("variables"))
        return _with_faults(wandb, f"graphql:{operation}", lambda: _answer(wandb, query, asked))

    @app.get("/artifacts/<entity>/<digest>")
    def layout_1(entity: str, digest: str) -> Response:
        return _to_file(wandb, entity, digest)

    @app.get("/artifactsV2/<region>/<entity>/<path:rest>")
    def layout_2(region: str, entity: str, rest: str) -> Response:  # noqa: ARG001 - every file is in one region here
        parts = rest.split("/")
        if not set(_FORMS.get(len(parts), {"never"})) <= (wandb.features or set()):
            wandb.record("api", request)
            return _error(404, "no such address")
        # The short form ends with the digest; the others with the digest and the file's name.
        return _to_file(wandb, entity, parts[-1] if len(parts) == 2 else parts[-2])

    @app.post("/oidc/token")
    def token() -> Response:
        wandb.record("api", request)
        return _with_faults(wandb, "oidc", lambda: _exchange(wandb))

    @app.errorhandler(HTTPException)
    def plain(error: HTTPException) -> tuple[Response, int]:
        return jsonify(error=str(error.description)), error.code or 500

    return app


def _to_file(wandb: WandbStandIn, entity: str, digest: str) -> Response:
    user = _user(wandb)
    found = wandb.stored_under(entity, digest, user) if user else None
    target = f"download:{found[0]}" if found else None
    wandb.record("api", request, target=target)
    if user is None:
        return _unauthorised()
    if found is None or target is None:
        return _error(404, "file not found")
    return _with_faults(wandb, target, lambda: redirect(found[1], 307))


def _answer(wandb: WandbStandIn, query: str, asked: dict[str, Any]) -> Response:
    user = _user(wandb)
    if user is None:
        return _unauthorised()
    status, body = wandb.execute(query, asked.get("variables"), user)
    response = jsonify(body)
    response.status_code = status
    return response


def _with_faults(wandb: WandbStandIn, target: str, answer: Callable[[], Response]) -> Response:
    fault = wandb.faults.take(target)
    if fault is None:
        return answer()

    def honest(fault: Fault) -> Response:
        response = answer()
        response.data = fault.spoil(response.data)
        return response

    return spoiled(request, fault, wandb.faults, honest)


def _exchange(wandb: WandbStandIn) -> Response:
    if request.form.get("grant_type") != _GRANT:
        return _error(400, "unsupported_grant_type")
    try:
        token, lifetime = wandb.federation.exchange(request.form.get("assertion", ""))
    except NotTrustedError as error:
        return _error(401, str(error))
    return jsonify(access_token=token, token_type="Bearer", expires_in=lifetime)


def _user(wandb: WandbStandIn) -> User | None:
    """Whoever the request's key belongs to: Basic, user ``api``, as every W&B client sends it; or a token."""
    sent = request.authorization
    if sent is not None and sent.type == "bearer":
        return wandb.user_with_token(sent.token or "")
    if sent is None or sent.type != "basic" or sent.username != "api":
        return None
    return wandb.user_with_key(sent.password or "")


def _unauthorised() -> Response:
    if request.authorization is None:
        return _error(401, "user is not logged in")
    response = jsonify(errors=[{"message": "invalid API key"}])
    response.status_code = 401
    return response


def _error(status: int, message: str) -> Response:
    response = jsonify(error=message)
    response.status_code = status
    return response
