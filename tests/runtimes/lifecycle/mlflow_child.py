"""Runs in a process of its own: MLflow warns when it is imported, and takes seconds.

`log FOLDER BUNDLE...` logs bundles; `load PHOTO...` predicts with them. Prints JSON.
"""

from __future__ import annotations

import base64
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import mlflow
import mlflow.pyfunc
import numpy as np
import pandas as pd
from mlflow.pyfunc import scoring_server

from edgekit.bundle import Bundle
from edgekit.errors import EdgeKitError
from edgekit.images import read_image
from edgekit.spec import Spec, TensorSpec
from edgekit.table import Column, TableEncoding
from edgekit_runtimes import mlflow as edgekit_mlflow
from edgekit_runtimes.lifecycle.mlflow_signature import signature_of

# What follows is this package's own: no warning in it.
warnings.simplefilter("error")

QUESTIONS = Spec("question-answering", (TensorSpec("ids", (None, 8), "int64"),), (TensorSpec("logits", (None, 8, 2)),))
ROWS = Spec(
    "tabular-regression",
    (TensorSpec("x", (None, 3)),),
    (TensorSpec("y", (None, 1)),),
    table=TableEncoding((Column("age"), Column("town", "categorical", vocabulary=("A", "B"), fill="A"))),
)


class Described:
    """As much of a bundle as a signature needs."""

    def __init__(self, spec: Spec, path: Path) -> None:
        self.spec = spec
        self.path = path

    def golden(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """One answer."""
        return {}, {tensor.name: np.zeros((1, 1), np.float32) for tensor in self.spec.outputs}


def log(folder: Path, person: Path, detector: Path) -> dict[str, Any]:
    """Log two bundles into one run and one without a run, and save one."""
    with mlflow.start_run() as run:
        info = edgekit_mlflow.log_model(person, registered_model_name="person", model_config={"recipe": "int8"})
        arrays = edgekit_mlflow.log_model(detector, "detector")
    alone = edgekit_mlflow.log_model(person, "alone")
    edgekit_mlflow.save_model(person, folder / "saved", signature=False, extra_pip_requirements=["pillow"])
    found = mlflow.get_run(run.info.run_id).data
    saved = (folder / "saved" / "requirements.txt").read_text().split()
    own = {key: value for key, value in found.tags.items() if key.startswith("edgekit.")}
    return {
        "run": run.info.run_id,
        "person": info.model_uri,
        "detector": arrays.model_uri,
        "alone": [alone.model_uri, alone.run_id],
        "flavors": info.flavors,
        "signature": info.signature.to_dict(),
        "array_signature": arrays.signature.to_dict(),
        "metrics": found.metrics,
        "tags": own,
        "requirements": saved,
        "signatures": [signature_of(Described(spec, folder)).inputs.to_dict() for spec in (QUESTIONS, ROWS)],  # type: ignore[arg-type]
    }


def load(about: dict[str, Any], photos: list[str]) -> dict[str, Any]:
    """Predict with what was logged, in every form that it takes."""
    model = mlflow.pyfunc.load_model("models:/person/1")
    table = model.predict(pd.DataFrame({"photo": photos}, index=[5, 9]))
    with edgekit_mlflow.load_model(about["person"], recipe="int8") as predictor:
        alone = [predictor.predict(photo).to_dict() for photo in photos]
    pixels = read_image(photos[0])
    content = Path(photos[0]).read_bytes()
    url = f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"
    bare = mlflow.pyfunc.load_model(about["saved"], model_config={"recipe": "int8"})
    forms: dict[str, Any] = {
        "list": model.predict(photos),
        "path": model.predict(photos[0]),
        "series": model.predict(pd.Series(photos)),
        "bytes": model.predict(pd.DataFrame({"x": [content]})),
        "url": model.predict([url]),
        "pixels": model.predict(pd.DataFrame({"x": [pixels]})),
        "nested": model.predict({"x": [pixels]}),
        "bare array": bare.predict(pixels),
        "bare arrays": bare.predict([pixels, pixels]),
        "a batch": bare.predict(pixels[None]),
    }
    served = scoring_server.invocations(
        json.dumps({"inputs": photos}), "application/json", model, model.metadata.get_input_schema()
    )
    detector = mlflow.pyfunc.load_model(about["detector"])
    inputs, expected = Bundle(about["detector_bundle"]).golden()
    outputs = detector.predict(inputs)
    with warnings.catch_warnings(record=True):
        try:
            model.predict(["nothing.jpg"])
        except EdgeKitError as error:
            refused = str(error)
    return {
        "index": table.index.tolist(),
        "table": table.to_dict("records"),
        "alone": alone,
        "forms": {name: frame.to_dict("records") for name, frame in forms.items()},
        "served": json.loads(served.response)["predictions"],
        "example": {name: list(array.shape) for name, array in detector.input_example.items()},
        "outputs": {name: bool(np.array_equal(outputs[name], expected[name])) for name in expected},
        "refused": refused,
        "frameworks": sorted(
            {name.partition(".")[0] for name in sys.modules} & {"torch", "tensorflow", "keras", "onnx"}
        ),
    }


if __name__ == "__main__":
    verb, *words = sys.argv[1:]
    answer = log(*map(Path, words)) if verb == "log" else load(json.loads(words[0]), words[1:])
    print(json.dumps(answer))
