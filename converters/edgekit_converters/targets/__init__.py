"""Write artifacts: one module for each format."""

from __future__ import annotations

from pathlib import Path

from edgekit.errors import ModelRefused, SpecRefused, UsageError
from edgekit.isolate import EngineProcess
from edgekit_converters.sources.base import Source
from edgekit_converters.targets.base import Exported, ExportOptions
from edgekit_converters.targets.copying import copy_artifact
from edgekit_converters.targets.refusals import FORMAT_TITLES

__all__ = ["ExportOptions", "Exported", "export"]

FORMATS = ("tflite", "onnx")


def export(source: Source, format: str, path: Path, options: ExportOptions | None = None) -> Exported:
    """Write a source as a float artifact.

    Args:
        source: The open source model; ``.onnx`` and ``.tflite`` sources are copied to their own format.
        format: ``tflite`` or ``onnx``.
        path: Where to write; replaced in one step on success, untouched on failure.
        options: Layouts and batch; ``None`` for the defaults.

    Raises:
        UsageError: An unknown format.
        ModelRefused: The model cannot be written in this format; names the operators and a remedy.
        SpecRefused: The options do not fit the source's inputs.
    """
    options = options or ExportOptions()
    if format not in FORMATS:
        raise UsageError(f"target {format!r}", expected=" or ".join(FORMATS))
    if source.framework in FORMATS:
        return _copy(source, format, path, options)
    if format == "tflite":
        from edgekit_converters.targets import tflite

        return tflite.export(source, path, options)
    from edgekit_converters.targets import onnx

    return onnx.export(source, path, options)


def _copy(source: Source, format: str, path: Path, options: ExportOptions) -> Exported:
    """An artifact in its own format is taken as it is."""
    if source.framework != format:
        raise ModelRefused(
            f"{source.name} is {FORMAT_TITLES[source.framework]}: it cannot be converted to {FORMAT_TITLES[format]}",
            expected="the trained model, or the artifact's own format",
            remedy=f"convert the Keras or PyTorch model it was made from, or use --to {source.framework}",
        )
    for spec in source.inputs:
        wanted = options.layouts.get(spec.name, spec.layout)
        if wanted != spec.layout:
            raise SpecRefused(
                f"layout {wanted} for input {spec.name!r} of {source.name}",
                expected=f"{spec.layout}, as the {FORMAT_TITLES[format]} file has it",
                remedy="leave the layout out, or convert the trained model",
            )
    if source.path is None:
        raise ModelRefused(f"{source.name} has no file to copy", expected=f"a .{format} file")
    copy_artifact(source.path, path)
    with EngineProcess(path) as engine:
        inputs, outputs = engine.inputs, engine.outputs
    return Exported(
        inputs=tuple(info.name for info in inputs),
        outputs=tuple(info.name for info in outputs),
        layouts=tuple(spec.layout for spec in source.inputs),
    )
