"""Write a float32 `.tflite` file, built-in operators only, from a Keras model, a SavedModel or a PyTorch module."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgekit.atomic import atomic_file
from edgekit.errors import EdgeKitError, ModelRefused
from edgekit_converters.sources.base import Source
from edgekit_converters.targets import tflite_file
from edgekit_converters.targets.base import Exported, ExportOptions, artifact_layouts, permutations
from edgekit_converters.targets.binding import Permute, bind_outputs, by_signature, identifiers, tensor_identifiers
from edgekit_converters.targets.quiet import quiet
from edgekit_converters.targets.refusals import refuse

SIGNATURE = "serving_default"


def export(source: Source, path: Path, options: ExportOptions) -> Exported:
    """Write the file.

    Args:
        source: A Keras, SavedModel or PyTorch source.
        path: Where to write; replaced in one step when the conversion has succeeded.
        options: Layouts (image inputs become NHWC unless it says NCHW) and whether the batch stays open.

    Raises:
        ModelRefused: The converter cannot express the model with built-in operators.
        SpecRefused: The options do not fit the source's inputs.
    """
    layouts = artifact_layouts(source.inputs, options, default="NHWC")
    permute = permutations(source.inputs, layouts)
    with atomic_file(path) as temporary:
        convert = _FRAMEWORKS[source.framework]
        inputs, outputs, notes = _guarded(source, lambda: convert(source, temporary, options, permute))
        written = tflite_file.read(temporary)
        _refuse_resources(source, written)
        tensors = by_signature("input", inputs, written.inputs)
        results = by_signature("output", outputs, written.outputs)
        results = bind_outputs(source, temporary, tensors, results, permute)
    notes = [*notes, *_stray_transposes(source, permute, tensors, written)]
    return Exported(inputs=tensors, outputs=results, notes=tuple(notes), layouts=layouts)


Converted = tuple[list[str], list[str], list[str]]
"""Signature names of the inputs and the outputs in the source's order, and notes."""


def _guarded(source: Source, convert: Callable[[], Converted]) -> Converted:
    """Run a converter silently; its failure becomes a ModelRefused."""
    try:
        with quiet() as noise:
            return convert()
    except (EdgeKitError, MemoryError, OSError):
        raise
    except Exception as error:
        raise refuse(source.name, "tflite", error, noise) from error


def _from_keras(source: Any, path: Path, options: ExportOptions, permute: Permute) -> Converted:
    """Keras -> TFLite: by the converter's own door where batch, layout and names can stay as they are."""
    own = [str(tensor.name) for tensor in source.model.inputs]
    inputs, outputs = tensor_identifiers(source)

    def write(batch: int | None) -> None:
        nonlocal inputs, outputs
        if batch is None and not permute and own == identifiers(own):
            import tensorflow as tf

            path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(source.model).convert())
            # The names that Keras gives the parts of a list.
            inputs, outputs = own, [f"output_{place}" for place in range(len(source.outputs))]
        else:
            _write_keras_archive(source, path, permute, batch, (inputs, outputs))

    notes = _with_open_batch(source, options, write)
    return inputs, outputs, notes


def _write_keras_archive(
    source: Any, path: Path, permute: Permute, batch: int | None, names: tuple[list[str], list[str]]
) -> None:
    """Keras -> SavedModel with other names, layouts or batch -> TFLite."""
    import keras

    from edgekit_converters.targets import keras_graph

    inputs, outputs = names
    archive = keras.export.ExportArchive()
    archive.track(source.model)
    call = keras_graph.named_call(source, outputs, permute)
    archive.add_endpoint("serve", call, keras_graph.signature(source.inputs, inputs, permute, batch))
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        archive.write_out(folder, verbose=False)
        _convert_saved_model(Path(folder), SIGNATURE, path)


def _from_saved_model(source: Any, path: Path, options: ExportOptions, permute: Permute) -> Converted:
    """SavedModel -> TFLite, as it is where its signature can stay as it is."""
    from edgekit_converters.targets import saved_model_graph

    inputs, outputs = [spec.name for spec in source.inputs], [spec.name for spec in source.outputs]

    def write(batch: int | None) -> None:
        if batch is None and not permute:
            _convert_saved_model(source.folder, source.signature, path)
            return
        with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
            saved_model_graph.rewrite(source, Path(folder), (inputs, outputs), permute, batch)
            _convert_saved_model(Path(folder), SIGNATURE, path)

    return inputs, outputs, _with_open_batch(source, options, write)


def _with_open_batch(source: Source, options: ExportOptions, write: Callable[[int | None], None]) -> list[str]:
    """Write with the batch open if asked for and possible; return notes.

    Recurrent layers keep their steps in TensorLists, whose element shape TFLite must know: such a model is
    written with a batch of 1.
    """
    if not options.dynamic_batch:
        write(1)
        return []
    try:
        write(None)
    except Exception as error:
        if "TensorList" not in str(error) or source.inputs[0].shape[0] is not None:
            raise
        write(1)
        return ["the batch is fixed at 1: TFLite needs the shape of what this model's recurrent layers keep"]
    return []


def _convert_saved_model(folder: Path, signature: str, path: Path) -> None:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=[signature])
    path.write_bytes(converter.convert())


def _from_torch(source: Any, path: Path, options: ExportOptions, permute: Permute) -> Converted:
    """PyTorch -> TFLite. litert-torch writes static shapes: an open batch becomes a batch of 1.

    A model that does not convert is tried once more with its constants computed and expansions said in another way,
    which costs a second trace and is therefore not the first choice.
    """
    import litert_torch

    from edgekit_converters.targets import torch_folding, torch_graph, torch_rewrites

    inputs, outputs = tensor_identifiers(source)
    samples = dict(zip(inputs, torch_graph.examples(source, permute), strict=True))
    adapter = torch_graph.adapt(source, inputs, outputs, permute, torch_rewrites.FOR_TFLITE)
    try:
        litert_torch.convert(adapter, sample_kwargs=samples).export(str(path))
    except Exception as first:
        try:
            adapter = torch_graph.adapt(source, inputs, outputs, permute, torch_rewrites.FOR_TFLITE_RETRY)
            folded = torch_folding.fold_constants(adapter, samples)
            litert_torch.convert(folded, sample_kwargs=samples).export(str(path))
        except Exception:
            raise first from None  # it names the model's own code, not what was made of it
    return inputs, outputs, []


_FRAMEWORKS: dict[str, Callable[[Any, Path, ExportOptions, Permute], Converted]] = {
    "keras": _from_keras,
    "savedmodel": _from_saved_model,
    "pytorch": _from_torch,
}


def _refuse_resources(source: Source, written: tflite_file.TFLiteFile) -> None:
    if written.resources:
        raise ModelRefused(
            f"{source.name} needs {', '.join(written.resources)} in TFLite",
            expected="built-in operators without state",
            remedy="take lookup tables, variables that change at inference and custom operations out of the model",
        )


def _stray_transposes(
    source: Source, permute: Permute, tensors: Sequence[str], written: tflite_file.TFLiteFile
) -> list[str]:
    """Notes on inputs whose change of layout the converter could not move through the graph."""
    return [
        f"a TRANSPOSE remains behind input {spec.name!r}: its first operations do not work in the artifact's layout"
        for spec, tensor in zip(source.inputs, tensors, strict=True)
        if spec.name in permute and tensor in written.transposed
    ]
