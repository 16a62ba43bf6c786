"""Watching an .onnx file of any precision."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from edgekit.engine import ONNX_IO_METADATA, Array, TensorInfo
from edgekit_converters.compare.trace import Activation, Grid, Trace, float_name
from edgekit_converters.quantize.channel_record import KEY, ChannelFactors, read_factors
from edgekit_converters.quantize.onnx_graph import OnnxGraph, prepared, read_onnx

_EDGES = ("QuantizeLinear", "DequantizeLinear")
_FLOAT16 = 10  # TensorProto.FLOAT16
_NUMBERS = (0, 1, 2, 3, 4, 5, _FLOAT16)  # undefined, float, the integers of 8 and 16 bits, float16
_INTEGER_OPERATORS = ("MatMulInteger", "ConvInteger", "DynamicQuantizeLinear", "DynamicQuantizeMatMul")
# Operator -> position of the weights.
_WEIGHTED = {
    "Conv": 1, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1, "QLinearConv": 3, "QLinearMatMul": 3, "QGemm": 3,
    "MatMulInteger": 1, "ConvInteger": 1, "LSTM": 1, "GRU": 1,
}  # fmt: skip
# Operator -> position of the scale of its output; the zero point follows. Others on integers keep their input's.
_OUTPUT_SCALE = {
    "QLinearConv": 6, "QLinearMatMul": 6, "QLinearAdd": 6, "QLinearMul": 6, "QGemm": 7, "QLinearConcat": 0,
    "QLinearSigmoid": 3, "QLinearLeakyRelu": 3, "QLinearAveragePool": 3, "QLinearGlobalAveragePool": 3,
    "QuantizeLinear": 1, "DequantizeLinear": 1,
}  # fmt: skip


class OnnxTrace(Trace):
    """An .onnx file. A float model is seen as the quantizers see it: constants and batch normalization folded.

    Args:
        path: The file.
        threads: Threads of ONNX Runtime.

    Raises:
        ModelRefused: Not an ONNX file, or ONNX Runtime cannot load it.
    """

    format = "onnx"

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        self.path = path
        model = read_onnx(path)
        operators = {node.op_type for node in model.graph.node}
        quantized = operators & {*_EDGES, *_INTEGER_OPERATORS} or any("QLinear" in name for name in operators)
        halved = any(tensor.data_type == _FLOAT16 for tensor in model.graph.initializer)  # folding would add casts
        self.graph = OnnxGraph(path, model if quantized or halved else prepared(path), threads=threads)
        reader = _Reader(self.graph.model)
        self.inputs = tuple(reader.edge(info) for info in self.graph.inputs)
        self.activations = reader.activations([info.name for info in self.inputs])
        self.factors = reader.factors()
        self._integer = bool(quantized)

    @property
    def is_float(self) -> bool:
        """Whether no activation is stored in integers."""
        return not self._integer

    def _watch(self, feeds: Mapping[str, Array], tensors: Collection[str]) -> dict[str, Array]:
        return self.graph.watch(feeds, tensors)

    def close(self) -> None:
        """Release the session."""
        self.graph.close()


class _Reader:
    """Goes through the nodes once, in their order."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.nodes = list(model.graph.node)
        self.constants = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
        self.values = {tensor.name: tensor for tensor in model.graph.initializer}
        self.outputs = {value.name for value in model.graph.output}
        self.readers: dict[str, list[Any]] = {}
        for node in self.nodes:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        described = (*model.graph.value_info, *model.graph.input, *model.graph.output)
        self.types = {value.name: value.type.tensor_type.elem_type for value in described}
        self.root: dict[str, str] = {}
        self.grids: dict[str, Grid] = {}

    def activations(self, inputs: Iterable[str]) -> tuple[Activation, ...]:
        found = [self._activation(name, None) for name in inputs]
        for node in self.nodes:
            taken = [name for name in node.input if name]
            if all(name in self.constants for name in taken):
                shape = self.constants[taken[0]] if taken and node.op_type in _EDGES else ()
                self.constants.update(dict.fromkeys(node.output, shape))
            elif node.op_type in _EDGES:
                self.root[node.output[0]] = self.root.get(taken[0], taken[0])
            else:
                self._remember_grid(node, taken)
                found += [self._activation(name, node) for name in node.output if self._is_number(name)]
        return tuple(found)

    def _is_number(self, name: str) -> bool:
        """Whether it may hold activations: not shapes and masks; what the model does not say may."""
        return bool(name) and self.types.get(name, _FLOAT16) in _NUMBERS

    def _remember_grid(self, node: Any, taken: list[str]) -> None:
        grid = self._output_grid(node) or next((self.grids[name] for name in taken if name in self.grids), None)
        if grid is not None and node.op_type not in _INTEGER_OPERATORS:
            self.grids.update(dict.fromkeys(node.output, grid))

    def _output_grid(self, node: Any) -> Grid | None:
        import onnx

        at = _OUTPUT_SCALE.get(node.op_type)
        scale = self.values.get(node.input[at]) if at is not None and len(node.input) > at else None
        if at is None or scale is None or len(node.input) <= at + 1:
            return None
        zero = self.values.get(node.input[at + 1])
        step = onnx.numpy_helper.to_array(scale)
        if zero is None or step.size != 1:
            return None
        zeros = onnx.numpy_helper.to_array(zero)
        return Grid(zeros.dtype.name, float(step.reshape(-1)[0]), int(zeros.reshape(-1)[0]))

    def _activation(self, name: str, node: Any) -> Activation:
        shown, grid = self._stored(name)
        sources = [] if node is None else [item for item in node.input if item and item not in self.constants]
        roots = dict.fromkeys(self.root.get(item, item) for item in sources)
        return Activation(
            float_name(name),
            shown,
            "input" if node is None else node.op_type,
            tuple(self._stored(item)[0] for item in roots),
            self._weight(node),
            grid,
        )

    def _stored(self, name: str) -> tuple[str, Grid | None]:
        """Tensor to watch and how its values are stored.

        Behind its QuantizeLinear and DequantizeLinear where nothing reads it before them: to watch it there as well
        would keep ONNX Runtime from running the layer in integers.
        """
        readers = self.readers.get(name, [])
        kinds = {node.op_type for node in readers}
        if name in self.outputs or kinds not in ({"QuantizeLinear"}, {"DequantizeLinear"}):
            return name, self.grids.get(name)
        grid = self._output_grid(readers[0])
        if kinds == {"DequantizeLinear"}:
            return readers[0].output[0], grid
        stored = readers[0].output[0]
        back = next((node for node in self.readers.get(stored, []) if node.op_type == "DequantizeLinear"), None)
        return (stored if back is None else back.output[0]), grid

    def _weight(self, node: Any) -> tuple[int, ...] | None:
        at = None if node is None else _WEIGHTED.get(node.op_type)
        if at is None or len(node.input) <= at:
            return None
        shape = self.constants.get(node.input[at])
        return shape if shape is not None and len(shape) >= 2 else None

    def factors(self) -> dict[str, ChannelFactors]:
        """What the quantizer noted on scaled channels."""
        value = next((entry.value for entry in self.model.metadata_props if entry.key == KEY), "")
        try:
            return read_factors(base64.b64decode(value))
        except binascii.Error:
            return {}

    def edge(self, info: TensorInfo) -> TensorInfo:
        """An input with its scale, so that floats can be fed."""
        entries = {entry.key: entry.value for entry in self.model.metadata_props}
        stored = json.loads(entries.get(ONNX_IO_METADATA, "{}")).get(info.name)
        if stored is None:
            return info
        return TensorInfo(info.name, info.shape, info.dtype, stored["scale"], stored["zero_point"])
