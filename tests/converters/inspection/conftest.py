"""Small hand-made artifacts, so that each test states exactly what is in the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper


@dataclass(frozen=True)
class T:
    """A TFLite tensor: name, shape, dtype, stored values, scales."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "FLOAT32"
    values: Any = None
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()


@dataclass(frozen=True)
class Op:
    """A TFLite operator: builtin name (or a custom one in lower case or Flex…), tensor indices in and out."""

    name: str
    inputs: Sequence[int]
    outputs: Sequence[int]


def _tensor(item: T, buffers: list[Any]) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.type = item.name, getattr(schema.TensorType, item.dtype)
    tensor.shape = [max(1, size) for size in item.shape]
    tensor.shapeSignature = list(item.shape)
    if item.scales:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = list(item.scales)
        tensor.quantization.zeroPoint = list(item.zero_points or [0] * len(item.scales))
    if item.values is not None:
        buffer = schema.BufferT()
        buffer.data = list(np.ascontiguousarray(item.values).tobytes())
        buffers.append(buffer)
        tensor.buffer = len(buffers) - 1
    return tensor


def _code(name: str) -> Any:
    code = schema.OperatorCodeT()
    known = getattr(schema.BuiltinOperator, name, None)
    code.builtinCode = schema.BuiltinOperator.CUSTOM if known is None else known
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.customCode = None if known is not None else name
    return code


class _SharingBuilder(flatbuffers.Builder):  # type: ignore[misc]
    """Stores equal strings once, as a hostile file may."""

    def CreateString(self, s: Any, encoding: str = "utf-8", errors: str = "strict") -> Any:
        written: dict[str, Any] = self.__dict__.setdefault("written", {})
        if s not in written:
            written[s] = super().CreateString(s, encoding, errors)
        return written[s]


def build_tflite(
    tensors: Sequence[T],
    operators: Sequence[Op],
    inputs: Sequence[int],
    outputs: Sequence[int],
    share_strings: bool,
) -> bytes:
    """Return the bytes of a model with one graph."""
    names = sorted({op.name for op in operators})
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.description = 3, "made by a test"
    model.buffers = [schema.BufferT()]
    model.operatorCodes = [_code(name) for name in names]
    graph.tensors = [_tensor(item, model.buffers) for item in tensors]
    graph.inputs, graph.outputs, graph.operators = list(inputs), list(outputs), []
    for op in operators:
        operator = schema.OperatorT()
        operator.opcodeIndex = names.index(op.name)
        operator.inputs, operator.outputs = list(op.inputs), list(op.outputs)
        graph.operators.append(operator)
    model.subgraphs = [graph]
    builder = (_SharingBuilder if share_strings else flatbuffers.Builder)(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


@pytest.fixture
def tflite_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a `.tflite` file of T and Op items."""

    def write(
        tensors: Sequence[T],
        operators: Sequence[Op],
        inputs: Sequence[int],
        outputs: Sequence[int],
        share_strings: bool = False,
    ) -> Path:
        path = tmp_path / "model.tflite"
        path.write_bytes(build_tflite(tensors, operators, inputs, outputs, share_strings))
        return path

    return write


@pytest.fixture
def onnx_file(tmp_path: Path) -> Callable[..., Path]:
    """Write an `.onnx` file of nodes, inputs and outputs (name -> shape, None dynamic) and weights (name -> array)."""

    def write(
        nodes: Sequence[Any],
        inputs: dict[str, Sequence[int | str | None]],
        outputs: dict[str, Sequence[int | str | None] | None],
        weights: dict[str, Any],
        dtypes: dict[str, int] | None = None,
    ) -> Path:
        kinds = dtypes or {}
        graph = helper.make_graph(
            nodes,
            "made-by-a-test",
            [helper.make_tensor_value_info(k, kinds.get(k, TensorProto.FLOAT), v) for k, v in inputs.items()],
            [helper.make_tensor_value_info(k, kinds.get(k, TensorProto.FLOAT), v) for k, v in outputs.items()],
            [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
        )
        domains = {node.domain for node in nodes} - {""}
        opsets = [helper.make_opsetid("", 18), *(helper.make_opsetid(domain, 1) for domain in sorted(domains))]
        path = tmp_path / "model.onnx"
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), str(path))
        return path

    return write


@pytest.fixture
def t() -> type[T]:
    return T


@pytest.fixture
def op() -> type[Op]:
    return Op
