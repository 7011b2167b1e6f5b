"""W&B's API over HTTP: GraphQL, and the addresses that lead to a file's signed one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask, Response, jsonify, redirect, request
from werkzeug.exceptions import HTTPException

from tests.stand_ins.wandb import graph
from tests.stand_ins.wandb.faults import Fault
from tests.stand_ins.wandb.serving import reset_connection
from tests.stand_ins.wandb.state import User

if TYPE_CHECKING:
    from tests.stand_ins.wandb.stand_in import WandbStandIn


def create_app(wandb: WandbStandIn) -> Flask:
    """The API of this stand-in."""
    app = Flask("wandb-stand-in")

    @app.post("/graphql")
    def graphql() -> Response:
        asked = request.get_json(silent=True) or {}
        query = str(asked.get("query", ""))
        operation = graph.operation_name(query)
        wandb.record("api", request, operation=operation, variables=asked.get("variables"))
        fault = wandb.faults.take(f"graphql:{operation}")
        if fault is not None and (fault.reset or fault.status is not None or fault.body is not None):
            return _instead(fault)
        user = _user(wandb)
        if user is None:
            return _unauthorised()
        status, body = wandb.execute(query, asked.get("variables"), user)
        response = jsonify(body)
        response.status_code = status
        if fault is not None:
            wandb.faults.wait(fault)
            response.headers.update(fault.extra_headers)
        return response

    @app.get("/artifacts/<entity>/<digest>")
    def layout_1(entity: str, digest: str) -> Response:
        return _to_file(wandb, entity, digest)

    @app.get("/artifactsV2/<region>/<entity>/<path:rest>")
    def layout_2(region: str, entity: str, rest: str) -> Response:  # noqa: ARG001 - every file is in one region here
        parts = rest.split("/")
        # The short form ends with the digest; the others with the digest and the file's name.
        return _to_file(wandb, entity, parts[-1] if len(parts) == 2 else parts[-2])

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
    fault = wandb.faults.take(target)
    return _instead(fault) if fault else _redirect(found[1])


def _redirect(url: str) -> Response:
    response = redirect(url, 307)
    assert isinstance(response, Response)
    return response


def _instead(fault: Fault) -> Response:
    if fault.reset:
        reset_connection(request.environ)
    body = fault.body if fault.body is not None else b'{"error": {"message": "on demand"}}'
    response = Response(body, fault.status or 200, mimetype="application/json")
    response.headers.update(fault.extra_headers)
    return response


def _user(wandb: WandbStandIn) -> User | None:
    """Whoever the request's key belongs to: Basic, user ``api``, as every W&B client sends it."""
    sent = request.authorization
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
