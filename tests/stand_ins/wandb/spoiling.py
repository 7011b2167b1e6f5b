"""Applies a fault to an HTTP answer, the same way for the API and the file store."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from werkzeug.wrappers import Request, Response

from tests.stand_ins.wandb.faults import Fault, Faults
from tests.stand_ins.wandb.serving import reset_connection


def spoiled(request: Request, fault: Fault, faults: Faults, honest: Callable[[Fault], Response]) -> Response:
    """The answer as the fault leaves it; ``honest`` makes it when the fault needs one."""
    if fault.reset:
        reset_connection(request.environ)
    response = _refused(fault) if fault.refuses else honest(fault)
    if fault.gzip:
        response.data = fault.encode(b"".join(response.iter_encoded()))
        response.headers["Content-Encoding"] = "gzip"
    response.headers.update(fault.extra_headers)
    if fault.cut_after is not None or fault.stall is not None:
        body = b"".join(response.iter_encoded())
        response.content_length = len(body)
        response.response = _broken_off(body, fault, faults)
    return response


def _refused(fault: Fault) -> Response:
    body = fault.body if fault.body is not None else b'{"error": {"message": "on demand"}}'
    return Response(body, fault.status, mimetype="application/json")


def _broken_off(body: bytes, fault: Fault, faults: Faults) -> Iterator[bytes]:
    yield body[: fault.cut_after or 0]
    faults.wait(fault)
    if fault.cut_after is None:
        yield body
