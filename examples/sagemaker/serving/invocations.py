"""The Action's ONNX server, asked as SageMaker asks: GET /ping and POST /invocations, on port 8080."""

from __future__ import annotations

from server import app, infer, ready

app.get("/ping")(ready)
app.post("/invocations")(infer)
