"""ONNX models, as the reference for their own quantization or to be checked."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import Any, ClassVar

from edgekit.errors import MissingExtra, ModelRefused
from edgekit_converters.sources._artifact import ArtifactSource
from edgekit_converters.sources._files import damaged, first_line
from edgekit_converters.sources.base import SourceOptions

ONNX_FILE = "a complete ONNX model"
QUANTIZED_OPERATORS = frozenset(
    (
        *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul"),
        *("ConvInteger", "MatMulInteger", "MatMulNBits"),
    )
)


class OnnxSource(ArtifactSource):
    """An open ONNX model; it answers through ONNX Runtime."""

    framework: ClassVar[str] = "onnx"

    def __init__(self, path: Path, options: SourceOptions) -> None:
        model = checked_model(path)
        self.is_float = not any(node.op_type in QUANTIZED_OPERATORS for node in _nodes(model.graph))
        self.parameters = sum(math.prod(tensor.dims) for tensor in _weights(model.graph))
        external = {_location(tensor) for tensor in _tensors(model.graph) if _is_external(tensor)}
        super().__init__(path, options, prefer="NCHW")
        self.size_bytes += sum((path.parent / name).stat().st_size for name in external)


def open_onnx(path: Path, options: SourceOptions) -> OnnxSource:
    """Open an ``.onnx`` file.

    Raises:
        ModelRefused: It is damaged, not valid, or its external data lies outside of its folder or is too short.
    """
    return OnnxSource(path, options)


def checked_model(path: Path) -> Any:
    """Return the ``ModelProto``, without its external data, after all checks.

    Raises:
        ModelRefused: It is damaged, not valid, or its external data is not what it should be.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtra(f"onnx cannot be imported: {error}", remedy="pip install 'edgekit-ai[convert]'") from error
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:
        raise damaged(path, error, expected=ONNX_FILE) from error
    if not model.graph.node and not model.graph.output:
        raise damaged(path, "it holds no graph", expected=ONNX_FILE)
    for tensor in _tensors(model.graph):
        if _is_external(tensor):
            _check_external(tensor, path)
    try:
        # The path, not the model: the checker then finds external data, and takes files over 2 GB.
        onnx.checker.check_model(str(path))
    except Exception as error:
        raise damaged(path, error, expected=f"{ONNX_FILE}: onnx.checker found {first_line(error)}") from error
    return model


def _graphs(graph: Any) -> Iterator[Any]:
    """A graph and those inside of its nodes (If, Loop, Scan)."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node or inner.initializer or inner.output:
                    yield from _graphs(inner)


def _nodes(graph: Any) -> Iterator[Any]:
    for inner in _graphs(graph):
        yield from inner.node


def _weights(graph: Any) -> Iterator[Any]:
    for inner in _graphs(graph):
        yield from inner.initializer
        for sparse in inner.sparse_initializer:
            yield sparse.values


def _tensors(graph: Any) -> Iterator[Any]:
    """Every tensor that may keep its data outside: weights and attributes of nodes."""
    yield from _weights(graph)
    for node in _nodes(graph):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _is_external(tensor: Any) -> bool:
    return bool(tensor.data_location == tensor.EXTERNAL)


def _entry(tensor: Any, key: str) -> str | None:
    return next((str(item.value) for item in tensor.external_data if item.key == key), None)


def _location(tensor: Any) -> str:
    return _entry(tensor, "location") or ""


def _check_external(tensor: Any, path: Path) -> None:
    """Refuse data that lies elsewhere, behind a link, or that is shorter than the tensor.

    ``onnx.checker`` accepts a file that is too short; the weights would be whatever follows in memory.
    """
    name = _location(tensor)
    parts = PureWindowsPath(name).parts
    file = path.parent / name
    problem = None
    if not name or Path(name).is_absolute() or PureWindowsPath(name).is_absolute() or ".." in parts:
        problem = "lies outside of the model's folder"
    elif any(step.is_symlink() for step in (file, *file.parents) if path.parent in step.parents):
        problem = "is a symbolic link"
    elif not file.is_file():
        problem = "is not there"
    elif _end_of(tensor) > file.stat().st_size:
        problem = f"has {file.stat().st_size:,} bytes, {_end_of(tensor):,} are needed for {tensor.name!r}"
    if problem:
        raise ModelRefused(
            f"{path.name}: external data {name!r} {problem}",
            expected="a complete data file beside the model",
            remedy="copy the model and its data file again, together, or save the model in one file",
        )


def _end_of(tensor: Any) -> int:
    """Bytes that the data file must have for this tensor."""
    import onnx

    bits = _bits(onnx.TensorProto.DataType.Name(tensor.data_type))
    needed = (int(math.prod(tensor.dims)) * bits + 7) // 8
    length = int(_entry(tensor, "length") or needed)
    return int(_entry(tensor, "offset") or 0) + max(needed, length)


def _bits(name: str) -> int:
    """Bits of one element of an ONNX type."""
    for ending, bits in (("COMPLEX128", 128), ("64", 64), ("DOUBLE", 64), ("16", 16), ("INT4", 4), ("INT2", 2)):
        if name.endswith(ending):
            return bits
    if name in ("FLOAT", "INT32", "UINT32"):
        return 32
    return 4 if name == "FLOAT4E2M1" else 8
