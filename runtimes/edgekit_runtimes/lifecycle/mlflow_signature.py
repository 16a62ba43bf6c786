"""What MLflow is told of a bundle: signature, input example, metrics and tags."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgekit.bundle import Bundle, bundle_sha256
from edgekit.errors import EdgeKitError
from edgekit.spec import TensorSpec
from edgekit.tasks import task_for
from edgekit.tasks.base import task_class

_NOT_IN_A_NAME = re.compile(r"[^\w. /-]")


def signature_of(bundle: Bundle) -> Any:
    """Return the `mlflow.models.ModelSignature` of a bundle.

    Bundles that take arrays have the tensors of their spec. The others have columns: one for paths, sentences or
    sounds, without a name, so that lists and tables with any heading fit; those of a row under their own names.
    """
    from mlflow.models import ModelSignature

    return ModelSignature(inputs=_inputs(bundle), outputs=_outputs(bundle))


def example_of(bundle: Bundle) -> dict[str, Any] | None:
    """Return the first golden sample of a bundle that takes arrays: input name -> array, batch of 1."""
    if task_class(bundle.spec.task).takes != "arrays":
        return None
    inputs, _ = bundle.golden()
    return {name: array[:1] for name, array in inputs.items()}


def metrics_of(bundle: Bundle) -> dict[str, float]:
    """Return parity, sizes and latencies as ``NAME.RECIPE.FORMAT``; what is not finite is left out."""
    found: dict[str, float] = {}
    for artifact in bundle.artifacts:
        parity, which = artifact.parity, f"{artifact.recipe}.{artifact.format}"
        found[f"size_bytes.{which}"] = artifact.bytes
        found[f"latency_ms.{which}"] = artifact.latency_ms
        found[f"relative_l2.{which}"] = parity.worst.relative_l2
        if parity.agreement is not None:
            found[f"agreement.{which}"] = parity.agreement.value
        if parity.metric is not None:
            found[f"{parity.metric.name}.{which}"] = parity.metric.value
        if parity.reference_metric is not None:
            found[f"{parity.reference_metric.name}.original"] = parity.reference_metric.value
    return {_NOT_IN_A_NAME.sub("_", key): float(value) for key, value in found.items() if math.isfinite(value)}


def tags_of(bundle: Bundle) -> dict[str, str]:
    """Return the spec in words."""
    about = bundle.manifest
    tags = {
        "edgekit.name": about.name,
        "edgekit.task": bundle.spec.task,
        "edgekit.bundle_sha256": bundle_sha256(bundle.path),
        "edgekit.version": about.edgekit_version,
        "edgekit.created": about.created,
        "edgekit.source": str(about.source.get("file", "")),
        "edgekit.inputs": _shapes(bundle.spec.inputs),
        "edgekit.outputs": _shapes(bundle.spec.outputs),
        "edgekit.artifacts": ", ".join(artifact.file for artifact in bundle.artifacts),
    }
    return {key: value for key, value in tags.items() if value}


def _inputs(bundle: Bundle) -> Any:
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import AnyType

    takes = task_class(bundle.spec.task).takes
    if takes == "arrays":
        return Schema([_tensor(tensor) for tensor in bundle.spec.inputs])
    if takes == "question":
        return Schema([ColSpec(DataType.string, name) for name in ("question", "context")])
    if takes == "row" and bundle.spec.table is not None:
        # MLflow refuses whole numbers in a column of doubles; the task itself checks every value.
        return Schema(
            [
                ColSpec(
                    DataType.string if column.kind == "categorical" else AnyType(),
                    column.name,
                    required=column.fill is None,
                )
                for column in bundle.spec.table.columns
            ]
        )
    return Schema([ColSpec(DataType.string if takes == "text" else AnyType())])


def _outputs(bundle: Bundle) -> Any:
    """The columns of a result, from the original's golden outputs; ``None`` where they say too little."""
    import pandas as pd
    from mlflow.models import infer_signature
    from mlflow.types import Schema

    if task_class(bundle.spec.task).takes == "arrays" and not bundle.spec.labels:
        return Schema([_tensor(tensor) for tensor in bundle.spec.outputs])
    try:
        task = task_for(bundle.spec, bundle.path)
        if task.needs_context:
            return None
        _, golden = bundle.golden()
        results = task.decode({name: array[:1] for name, array in golden.items()})
    except EdgeKitError:  # a tokenizer's library that only the device needs, or numbers that are no result
        return None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Hint: Inferred schema contains integer column")
        return infer_signature(None, pd.DataFrame([result.to_dict() for result in results])).outputs


def _tensor(tensor: TensorSpec) -> Any:
    from mlflow.types import TensorSpec as MlflowTensor

    shape = tuple(-1 if size is None else size for size in tensor.shape)
    return MlflowTensor(np.dtype(tensor.dtype), shape, tensor.name)


def _shapes(tensors: Sequence[TensorSpec]) -> str:
    return ", ".join(
        f"{tensor.name} {tensor.dtype}[{','.join('?' if n is None else str(n) for n in tensor.shape)}]"
        for tensor in tensors
    )
