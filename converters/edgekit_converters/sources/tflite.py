"""TFLite models, as the reference for their own quantization or to be checked."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

from edgekit.errors import MissingExtra
from edgekit_converters.sources._artifact import ArtifactSource
from edgekit_converters.sources._files import damaged
from edgekit_converters.sources.base import SourceOptions

TFLITE_FILE = "a complete TFLite model"
IDENTIFIER = b"TFL3"


class TFLiteSource(ArtifactSource):
    """An open TFLite model; it answers through LiteRT."""

    framework: ClassVar[str] = "tflite"

    def __init__(self, path: Path, options: SourceOptions) -> None:
        super().__init__(path, options, prefer="NHWC")
        # Only now that a child has opened it: reading a damaged flatbuffer here could follow any offset.
        try:
            self.parameters, self.is_float = _weights(path)
        except Exception as error:
            self.close()
            raise damaged(path, error, expected=TFLITE_FILE) from error


def open_tflite(path: Path, options: SourceOptions) -> TFLiteSource:
    """Open a ``.tflite`` file. Raises ModelRefused when it is damaged or crashes the runtime."""
    with path.open("rb") as file:
        head = file.read(8)
    if head[4:8] != IDENTIFIER:
        raise damaged(path, "it does not start like a TFLite model", expected=TFLITE_FILE)
    _check_complete(path)
    return TFLiteSource(path, options)


def _check_complete(path: Path) -> None:
    """Read every buffer's place: one past the end of the file means that the file was cut."""
    model, content = _parse(path)
    try:
        for place in range(model.BuffersLength()):
            buffer = model.Buffers(place)
            size = buffer.DataLength()
            offset, length = buffer.Offset(), buffer.Size()
            inline_end = buffer.Data(size - 1) if size else 0
            if inline_end < 0 or (offset > 1 and offset + length > len(content)):
                raise ValueError(f"buffer {place} ends after the file")
    except Exception as error:
        raise damaged(path, error, expected=TFLITE_FILE) from error


def _parse(path: Path) -> tuple[Any, bytes]:
    try:
        from ai_edge_litert import schema_py_generated as schema
    except ImportError as error:
        raise MissingExtra(
            f"ai_edge_litert cannot be imported: {error}", remedy="pip install 'edgekit-ai[convert]'"
        ) from error
    content = path.read_bytes()
    return schema.Model.GetRootAsModel(content, 0), content


def _weights(path: Path) -> tuple[int, bool]:
    """Number of weights, and whether no tensor is quantized."""
    from ai_edge_litert.schema_py_generated import TensorType

    floats = (TensorType.FLOAT32, TensorType.FLOAT16, TensorType.FLOAT64, TensorType.BFLOAT16)
    model, _ = _parse(path)
    count, is_float = 0, True
    for graph_place in range(model.SubgraphsLength()):
        graph = model.Subgraphs(graph_place)
        for place in range(graph.TensorsLength()):
            tensor = graph.Tensors(place)
            quantization = tensor.Quantization()
            quantized = quantization is not None and quantization.ScaleLength() > 0
            is_float = is_float and not quantized
            buffer = model.Buffers(tensor.Buffer())
            constant = buffer.DataLength() > 0 or buffer.Offset() > 1
            if constant and (tensor.Type() in floats or quantized):
                count += math.prod(int(tensor.Shape(axis)) for axis in range(tensor.ShapeLength()))
    return count, is_float
