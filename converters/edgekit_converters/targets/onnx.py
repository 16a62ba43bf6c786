"""Write a float32 `.onnx` file from a Keras model, a SavedModel or a PyTorch module."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgekit.atomic import atomic_file
from edgekit.errors import EdgeKitError
from edgekit_converters.sources.base import Source
from edgekit_converters.targets import onnx_file
from edgekit_converters.targets.base import Exported, ExportOptions, artifact_layouts, permutations
from edgekit_converters.targets.binding import Permute, bind_outputs, by_signature, tensor_identifiers
from edgekit_converters.targets.quiet import quiet
from edgekit_converters.targets.refusals import one_line, refuse

TORCH_OPSET = 20

Converted = tuple[list[str], list[str], list[str]]
"""Graph names of the inputs and the outputs in the source's order, and notes."""


def export(source: Source, path: Path, options: ExportOptions) -> Exported:
    """Write the file; weights that are too large for one file go to ``<file name>.data`` beside it.

    Args:
        source: A Keras, SavedModel or PyTorch source.
        path: Where to write; replaced in one step when the conversion has succeeded.
        options: Layouts (by default the source's own) and whether the batch stays open.

    Raises:
        ModelRefused: The exporter cannot express the model in ONNX.
        SpecRefused: The options do not fit the source's inputs.
    """
    layouts = artifact_layouts(source.inputs, options, default=None)
    permute = permutations(source.inputs, layouts)
    with atomic_file(path) as temporary, tempfile.TemporaryDirectory(prefix=".onnx-", dir=path.parent) as folder:
        draft = Path(folder, path.name)  # external data is found by the model's final name
        inputs, outputs, notes = _guarded(source, draft, options, permute)
        graph = onnx_file.load_graph(draft)
        tensors = by_signature("input", inputs, {value.name: value.name for value in graph.input})
        results = by_signature("output", outputs, {value.name: value.name for value in graph.output})
        results = bind_outputs(source, draft, tensors, results, permute)
        onnx_file.publish_external_data(draft, path)
        os.replace(draft, temporary)
    return Exported(inputs=tensors, outputs=results, notes=tuple(notes), layouts=layouts)


def _guarded(source: Source, path: Path, options: ExportOptions, permute: Permute) -> Converted:
    """Run an exporter silently and check what it wrote; a failure becomes a ModelRefused."""
    try:
        with quiet() as noise:
            converted = _FRAMEWORKS[source.framework](source, path, options, permute)
            onnx_file.check(path)
            return converted
    except (EdgeKitError, MemoryError, OSError):
        raise
    except Exception as error:
        raise refuse(source.name, "onnx", error, noise) from error


def _from_keras(source: Any, path: Path, options: ExportOptions, permute: Permute) -> Converted:
    from edgekit_converters.targets import keras_graph

    inputs, outputs = tensor_identifiers(source)
    signature = keras_graph.signature(source.inputs, inputs, permute, None if options.dynamic_batch else 1)
    _write_tf(keras_graph.named_call(source, outputs, permute), signature, path, source, outputs)
    return inputs, outputs, []


def _from_saved_model(source: Any, path: Path, options: ExportOptions, permute: Permute) -> Converted:
    from edgekit_converters.targets import keras_graph, saved_model_graph

    inputs, outputs = tensor_identifiers(source)
    signature = keras_graph.signature(source.inputs, inputs, permute, None if options.dynamic_batch else 1)
    _write_tf(saved_model_graph.named_call(source.function, source, outputs, permute), signature, path, source, outputs)
    return inputs, outputs, []


def _write_tf(call: Callable[..., Any], signature: list[Any], path: Path, source: Source, outputs: list[str]) -> None:
    """Trace a function with named inputs and outputs and write it as ONNX, with inferred shapes."""
    from edgekit_converters.targets import tf_graph

    if source.parameters * 4 <= onnx_file.SINGLE_FILE_LIMIT:
        onnx_file.save(tf_graph.to_onnx(call, signature, outputs), path, {})
        return
    model, weights = tf_graph.to_large_onnx(call, signature)
    onnx_file.order_outputs(model, outputs)
    onnx_file.save(model, path, weights)


def _from_torch(source: Any, path: Path, options: ExportOptions, permute: Permute) -> Converted:
    """PyTorch -> ONNX, with an open batch where the model allows it.

    A module whose Python code depends on the batch cannot be traced with an open one; it is then exported with a
    batch of 1.
    """
    from edgekit_converters.targets import torch_graph, torch_rewrites

    names = inputs, outputs = tensor_identifiers(source)
    adapter = torch_graph.adapt(source, inputs, outputs, permute, torch_rewrites.COMMON)
    if not (options.dynamic_batch and torch_graph.batch_is_open(source)):
        _torch_onnx(adapter, torch_graph.examples(source, permute), None, path, names)
        return inputs, outputs, []
    shapes = torch_graph.open_dimensions(source, permute)
    try:
        # Two samples: torch.export takes a dimension of 1 for a constant.
        _torch_onnx(adapter, torch_graph.examples(source, permute, 2), shapes, path, names)
        if onnx_file.has_open_batch(path):
            return inputs, outputs, []
        why = "its code depends on the batch"
    except Exception as error:
        why = one_line(error)
    _torch_onnx(adapter, torch_graph.examples(source, permute), None, path, names)
    return inputs, outputs, [f"the batch is fixed at 1: the model cannot be traced with an open one ({why})"]


def _torch_onnx(
    adapter: Any, samples: tuple[Any, ...], shapes: Any, path: Path, names: tuple[list[str], list[str]]
) -> None:
    """Export and write the file.

    PyTorch's fused attention returns its answer with strides that the exporter's decomposition does not have, and a
    view of it then fails; the plain form of attention has no such trap and becomes the same operators.
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel(SDPBackend.MATH):
        program = torch.onnx.export(
            adapter,
            samples,
            dynamo=True,
            dynamic_shapes=None if shapes is None else (shapes,),
            input_names=names[0],
            output_names=names[1],
            opset_version=TORCH_OPSET,
            verbose=False,
        )
    program.save(str(path), external_data=None)


_FRAMEWORKS: dict[str, Callable[[Any, Path, ExportOptions, Permute], Converted]] = {
    "keras": _from_keras,
    "savedmodel": _from_saved_model,
    "pytorch": _from_torch,
}
