"""The model as a web endpoint on Modal: ``MODEL_PATH=… modal deploy app.py``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import modal

NAME = "flower"
MODEL = Path("/model")
REQUIREMENTS = Path(__file__).with_name("requirements.txt")

image = modal.Image.debian_slim(python_version="3.13")
if modal.is_local():
    # Inside the container this file is read again, and there is nothing left to put into the image.
    image = image.pip_install_from_requirements(
        str(REQUIREMENTS), extra_options="--require-hashes --only-binary=:all:"
    ).add_local_dir(os.environ.get("MODEL_PATH", "model"), str(MODEL), copy=True)

app = modal.App(NAME, image=image)


@app.cls(
    cpu=1.0,
    memory=1024,
    timeout=60,
    scaledown_window=300,
    env={"VERSION": os.environ.get("MODEL_VERSION", "")},
)
@modal.concurrent(max_inputs=8)
class Model:
    """One container's copy of the model."""

    @modal.enter()
    def load(self) -> None:
        """Load it once, before the first request."""
        import onnxruntime  # noqa: PLC0415 - in the image, not where this file is deployed from

        onnxruntime.disable_telemetry_events()  # It tells its makers of each model otherwise.
        directory = Path(os.environ.get("MODEL_DIR", MODEL))
        self.session = onnxruntime.InferenceSession(str(directory / "model.onnx"))
        self.input = self.session.get_inputs()[0].name

    @modal.method()
    def predict(self, rows: list[list[float]]) -> dict[str, Any]:
        """A label for each row of numbers."""
        import numpy as np  # noqa: PLC0415 - in the image, not where this file is deployed from

        labels = self.session.run(None, {self.input: np.array(rows, dtype=np.float32)})[0]
        return {"labels": labels.tolist(), "version": os.environ.get("VERSION", "")}

    # Behind Modal's own tokens (Modal-Key, Modal-Secret): the open web is not asked in by a copied example.
    @modal.fastapi_endpoint(method="POST", requires_proxy_auth=True)
    def web(self, question: dict[str, list[list[float]]]) -> dict[str, Any]:
        """The same for the web: ``{"rows": [[…], …]}``."""
        answer: dict[str, Any] = self.predict.local(question["rows"])
        return answer
