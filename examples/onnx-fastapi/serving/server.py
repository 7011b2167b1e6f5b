"""An ONNX model behind the Open Inference Protocol (V2); it is ready when it has predicted."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

NAME = "model"
MOST_BYTES = 16 * 1024 * 1024  # Of a question.
# ONNX's name of a type: the protocol's, and numpy's.
TYPES: Mapping[str, tuple[str, Any]] = {
    "tensor(bool)": ("BOOL", np.bool_),
    "tensor(uint8)": ("UINT8", np.uint8),
    "tensor(uint16)": ("UINT16", np.uint16),
    "tensor(uint32)": ("UINT32", np.uint32),
    "tensor(uint64)": ("UINT64", np.uint64),
    "tensor(int8)": ("INT8", np.int8),
    "tensor(int16)": ("INT16", np.int16),
    "tensor(int32)": ("INT32", np.int32),
    "tensor(int64)": ("INT64", np.int64),
    "tensor(float16)": ("FP16", np.float16),
    "tensor(float)": ("FP32", np.float32),
    "tensor(double)": ("FP64", np.float64),
    "tensor(string)": ("BYTES", np.object_),
}
# What numpy makes of JSON, and may become that kind without loss that nobody asked for.
ACCEPTED = {"b": "b", "u": "iu", "i": "iu", "f": "iuf", "O": "U"}
_log = logging.getLogger("uvicorn.error")
onnxruntime.disable_telemetry_events()  # ORT_DISABLE_TELEMETRY says so earlier, in the image.


class BadQuestionError(Exception):
    """What was asked does not fit the model."""


class BadModelError(Exception):
    """The model cannot be served; the container ends, and what ran before goes on."""


class Tensor(BaseModel):
    """One input or output as JSON has it; the data is flat, or nested as its shape is."""

    name: str
    shape: list[int] = Field(min_length=0, max_length=16)
    datatype: str
    data: list[Any]


class Name(BaseModel):
    """Which output is wanted."""

    name: str


class Question(BaseModel):
    """The body of an inference request."""

    id: str | None = None
    inputs: list[Tensor]
    outputs: list[Name] | None = None


class Model:
    """A loaded model."""

    def __init__(self, path: Path) -> None:
        try:
            here = onnxruntime.get_available_providers()
            self._session = onnxruntime.InferenceSession(str(path), providers=here)
        except Exception as error:
            raise BadModelError(f"{path.name} cannot be loaded: {error}") from error
        self.inputs = {each.name: each for each in self._session.get_inputs()}
        self.outputs = {each.name: each for each in self._session.get_outputs()}
        for each in (*self.inputs.values(), *self.outputs.values()):
            if each.type not in TYPES:
                raise BadModelError(
                    f"{each.name} is of the type {each.type}, which JSON has no form for: want tensors "
                    "(a classifier of scikit-learn: export it with zipmap=False)"
                )

    def predict(self, question: Question) -> list[dict[str, Any]]:
        """The outputs for those inputs, as the protocol has them."""
        names = [each.name for each in question.outputs or ()] or list(self.outputs)
        for name in names:
            if name not in self.outputs:
                raise BadQuestionError(f"there is no output {name!r}, but {', '.join(self.outputs)}")
        given = {each.name: self._array(each) for each in question.inputs}
        if missing := self.inputs.keys() - given.keys():
            raise BadQuestionError(f"the input {', '.join(sorted(missing))} is missing")
        try:
            found = self._session.run(names, given)
        except Exception as error:
            # Its own kinds of error all mean that the shapes or values do not go with this model.
            raise BadQuestionError(f"the model cannot take this: {error}") from error
        return [self._told(name, np.asarray(array)) for name, array in zip(names, found, strict=True)]

    def blank(self) -> Question:
        """A question of zeros, and one wherever the model leaves the length open."""
        return Question(inputs=[self._blank(each) for each in self.inputs.values()])

    def about(self) -> dict[str, Any]:
        """What may be asked of it."""
        return {
            "name": NAME,
            "versions": [version()] if version() else [],
            "platform": "onnxruntime_onnx",
            "inputs": [self._about(each) for each in self.inputs.values()],
            "outputs": [self._about(each) for each in self.outputs.values()],
        }

    def _array(self, tensor: Tensor) -> np.ndarray[Any, Any]:
        expected = self.inputs.get(tensor.name)
        if expected is None:
            raise BadQuestionError(f"there is no input {tensor.name!r}, but {', '.join(self.inputs)}")
        datatype, kind = TYPES[expected.type]
        if tensor.datatype != datatype:
            raise BadQuestionError(f"{tensor.name}: got the datatype {tensor.datatype}, want {datatype}")
        try:
            got = np.array(tensor.data)
            array = got.astype(kind)
            shaped = array.reshape(tensor.shape)
        except (ValueError, TypeError, OverflowError) as error:
            raise BadQuestionError(f"{tensor.name}: {error}") from error
        if got.size and got.dtype.kind not in ACCEPTED[array.dtype.kind]:
            raise BadQuestionError(f"{tensor.name}: the data is not {datatype}")
        if array.dtype.kind in "iu" and not np.array_equal(got, array):
            raise BadQuestionError(f"{tensor.name}: the data has a number that {datatype} cannot hold")
        return shaped

    def _told(self, name: str, array: np.ndarray[Any, Any]) -> dict[str, Any]:
        datatype = TYPES[self.outputs[name].type][0]
        values = array.ravel().tolist()
        if array.dtype.kind == "f":
            values = [value if math.isfinite(value) else None for value in values]  # JSON has no NaN.
        return {"name": name, "datatype": datatype, "shape": list(array.shape), "data": values}

    @staticmethod
    def _blank(each: Any) -> Tensor:
        shape = [size if isinstance(size, int) and size > 0 else 1 for size in each.shape]
        datatype, kind = TYPES[each.type]
        empty: Any = "" if datatype == "BYTES" else kind(0).item()
        return Tensor(name=each.name, shape=shape, datatype=datatype, data=[empty] * math.prod(shape))

    @staticmethod
    def _about(each: Any) -> dict[str, Any]:
        shape = [size if isinstance(size, int) else -1 for size in each.shape]
        return {"name": each.name, "datatype": TYPES[each.type][0], "shape": shape}


def version() -> str:
    """Of the model, in W&B."""
    return os.environ.get("MODEL_VERSION", "")


def model_file(directory: Path, named: str) -> Path:
    """The file to serve: the named one, else ``model.onnx``, else the only .onnx there is."""
    if named:
        return directory / named
    found = sorted(directory.rglob("*.onnx"))
    if directory / "model.onnx" in found:
        return directory / "model.onnx"
    if len(found) != 1:
        raise BadModelError(f"{len(found)} files end in .onnx, want one: set MODEL_FILE")
    return found[0]


def prove(model: Model, sample: Path) -> None:
    """Predict once: what the model's own ``sample.json`` asks, as it says, or else zeros.

    ``sample.json`` is a question, with ``outputs`` that have data where the answer is to be compared.
    """
    if not sample.is_file():
        try:
            model.predict(model.blank())
        except BadQuestionError as error:
            _log.warning("the model predicts nothing for zeros; put a sample.json beside it (%s)", error)
        return
    try:
        told = json.loads(sample.read_text(encoding="utf-8"))
        question = Question.model_validate({"inputs": told["inputs"]})
        wanted = [Tensor.model_validate(each) for each in told.get("outputs", ()) if "data" in each]
        found = {each["name"]: each for each in model.predict(question)}
    except (ValueError, KeyError, TypeError, AttributeError, BadQuestionError) as error:
        raise BadModelError(f"the model cannot answer its own sample.json: {error}") from error
    for each in wanted:
        compare(found.get(each.name, {}), each)


def compare(found: Mapping[str, Any], wanted: Tensor) -> None:
    """Check that the model predicts what its sample says, up to the rounding of another processor."""
    got, want = np.array(found.get("data", [])), np.array(wanted.data).ravel()
    close = np.allclose if want.dtype.kind == "f" and got.dtype.kind in "iuf" else np.array_equal
    tolerance: dict[str, Any] = {"rtol": 1e-3, "atol": 1e-5} if close is np.allclose else {}
    if got.shape != want.shape or not close(got, want, **tolerance):
        raise BadModelError(
            f"the model does not predict what its sample.json says: {wanted.name}: "
            f"got {shortened(got.tolist())}, want {shortened(want.tolist())}"
        )


def shortened(values: Sequence[Any]) -> str:
    """The first few of them."""
    return f"[{', '.join(map(str, values[:8]))}{', …' if len(values) > 8 else ''}]"  # noqa: PLR2004 - enough to see


@asynccontextmanager
async def loaded(app: FastAPI) -> AsyncIterator[None]:
    """Have a proven model before the port is open, or end and say why."""
    directory = Path(os.environ.get("MODEL_DIR", "/model"))
    model = Model(model_file(directory, os.environ.get("MODEL_FILE", "")))
    prove(model, directory / "sample.json")
    app.state.model = model
    yield


class Limited:
    """The application, without questions that have more bytes than we care to hold."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count while the question arrives."""
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > MOST_BYTES:
                raise HTTPException(413, f"the question has more than {MOST_BYTES} bytes")
            return message

        await self._app(scope, counted if scope["type"] == "http" else receive, send)


app = FastAPI(title="Handoff", lifespan=loaded)
app.add_middleware(Limited)


@app.get("/v2/health/live")
@app.get("/v2/health/ready")
@app.get(f"/v2/models/{NAME}/ready")
async def ready() -> dict[str, bool]:
    """It is alive and ready: the port is not open before."""
    return {"ready": True}


@app.get("/v2")
async def server() -> dict[str, Any]:
    """What kind of server this is."""
    return {"name": "wandb-handoff-onnx", "version": onnxruntime.__version__, "extensions": []}


@app.get(f"/v2/models/{NAME}")
async def about(request: Request) -> dict[str, Any]:
    """The model's inputs and outputs."""
    told: dict[str, Any] = request.app.state.model.about()
    return told


@app.post(f"/v2/models/{NAME}/infer")
def infer(question: Question, request: Request) -> JSONResponse:
    """A prediction, in a thread of its own."""
    outputs = request.app.state.model.predict(question)
    answer = {"model_name": NAME, "model_version": version(), "outputs": outputs}
    return JSONResponse(answer | ({"id": question.id} if question.id is not None else {}))


@app.exception_handler(BadQuestionError)
@app.exception_handler(RequestValidationError)
async def refused(_request: Request, error: Exception) -> JSONResponse:
    """The protocol's form of an error."""
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    told = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in problems[:5])
    return JSONResponse({"error": told or str(error)}, status_code=400)


@app.exception_handler(HTTPException)
async def failed(_request: Request, error: HTTPException) -> JSONResponse:
    """The same for what the framework refuses."""
    return JSONResponse({"error": str(error.detail)}, status_code=error.status_code)
