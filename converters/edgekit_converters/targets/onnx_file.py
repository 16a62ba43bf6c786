"""Save, check and read a `.onnx` file that was just converted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekit.atomic import atomic_file

SINGLE_FILE_LIMIT = 1536 * 1024 * 1024
"""Bytes of weights up to which a model is one file: protobuf ends at 2 GiB, and PyTorch's exporter stops here."""


def save(model: Any, path: Path, weights: Mapping[str, bytes]) -> None:
    """Write a model with the shapes of all tensors inferred.

    Args:
        model: ModelProto.
        path: Where to write.
        weights: Data of tensors that are stored outside of the ModelProto, by location; they are joined in
            ``<file name>.data``. Empty when the model holds all of its weights.
    """
    import onnx

    if not weights:
        onnx.save_model(onnx.shape_inference.infer_shapes(model), str(path))
        return
    _join_weights(model, path.with_name(path.name + ".data"), weights)
    onnx.save_model(model, str(path))
    onnx.shape_inference.infer_shapes_path(str(path), str(path))


def _join_weights(model: Any, data: Path, weights: Mapping[str, bytes]) -> None:
    """Write all outside weights to one file and point the tensors to their places in it."""
    import onnx

    with data.open("wb") as file:
        for tensor in _tensors(model.graph):
            if tensor.data_location != onnx.TensorProto.EXTERNAL:
                continue
            content = weights[tensor.external_data[0].value]
            place = {"location": data.name, "offset": str(file.tell()), "length": str(len(content))}
            del tensor.external_data[:]
            tensor.external_data.extend(onnx.StringStringEntryProto(key=key, value=place[key]) for key in place)
            file.write(content)


def _tensors(graph: Any) -> Iterable[Any]:
    """Initializers and constants of a graph and of the graphs inside of its nodes."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            if attribute.HasField("g"):
                yield from _tensors(attribute.g)


def gather(source: Path, path: Path) -> None:
    """Copy a model; external data is taken into it, or where that is too much into ``<file name>.data``."""
    import onnx

    model = onnx.load(str(source), load_external_data=False)
    outside = [tensor for tensor in _tensors(model.graph) if tensor.data_location == onnx.TensorProto.EXTERNAL]
    if not outside:
        shutil.copyfile(source, path)
        return
    onnx.external_data_helper.load_external_data_for_model(model, str(source.parent))
    large = sum(len(tensor.raw_data) for tensor in _tensors(model.graph)) > SINGLE_FILE_LIMIT
    onnx.save_model(model, str(path), save_as_external_data=large, location=f"{path.name}.data")


def order_outputs(model: Any, names: Sequence[str]) -> None:
    """Put the graph's outputs in the source's order (TensorFlow sorts them by name)."""
    ordered = sorted(model.graph.output, key=lambda value: names.index(value.name))
    kept = [type(value).FromString(value.SerializeToString()) for value in ordered]
    del model.graph.output[:]
    model.graph.output.extend(kept)


def check(path: Path) -> None:
    """Run ONNX's checker. Raises `onnx.checker.ValidationError`, which names an operator that is not standard."""
    import onnx

    onnx.checker.check_model(str(path))


def load_graph(path: Path) -> Any:
    """Return the GraphProto without its external data."""
    import onnx

    return onnx.load(str(path), load_external_data=False).graph


def has_open_batch(path: Path) -> bool:
    """Whether dimension 0 of every input is symbolic."""
    return all(value.type.tensor_type.shape.dim[0].dim_param for value in load_graph(path).input)


def publish_external_data(draft: Path, path: Path) -> None:
    """Move the weights beside a draft, if there are any, to where the model will look for them.

    They go first: until the model itself is replaced, the old model with the old data of another length is the
    one that is refused, never a new model without its weights.
    """
    data = draft.with_name(draft.name + ".data")
    if data.exists():
        with atomic_file(path.with_name(data.name)) as temporary:
            os.replace(data, temporary)
