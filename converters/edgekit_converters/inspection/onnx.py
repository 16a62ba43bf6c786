"""Read an `.onnx` file: a protobuf, not trusted. External data is checked, never read."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from edgekit.engine import TensorInfo
from edgekit.errors import MissingExtra, ModelRefused
from edgekit_converters.inspection import costs, macs
from edgekit_converters.inspection.external_data import check_external_data
from edgekit_converters.inspection.model import Inspection, SizePart, Tally

DTYPES = {"float": "float32", "double": "float64"}
PACKED_BITS = {"int4": 4, "uint4": 4, "float4e2m1": 4, "int2": 2, "uint2": 2}
INDEX_DTYPES = ("int32", "int64", "uint32", "uint64", "bool", "string")
LOOPS = ("Loop", "Scan")
HYBRIDS = ("com.microsoft::DynamicQuantizeMatMul",)
"""Operators that quantize float activations themselves."""
VALUE_FIELDS = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data")
# Shape inference reads the values of small tensors (shapes, axes); larger ones are dropped before it.
SMALL = 1024
# Inputs that hold scales and zero points, which are no weights, and int32 biases, which are.
SCALES = {
    "QuantizeLinear": (1, 2),
    "DequantizeLinear": (1, 2),
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "ConvInteger": (2, 3),
    "MatMulInteger": (2, 3),
}
WEIGHT_SCALES = {"QLinearConv": 4, "QLinearMatMul": 4}
BIASES = {"DequantizeLinear": 0, "QLinearConv": 8}


def read_onnx(path: Path) -> Inspection:
    """Summarise an `.onnx` file; dynamic batch dimensions count as 1.

    Raises:
        ModelRefused: It is empty, truncated, damaged or no ONNX model, or its external data is missing, too short
            or outside its folder.
        MissingExtra: The `onnx` package is not installed.
    """
    try:
        import onnx
        import onnx.inliner
    except ImportError as error:
        raise MissingExtra(
            f"inspecting {path.name} needs onnx: {error}", remedy="pip install 'edgekit-ai[convert]'"
        ) from error
    try:
        model = onnx.load_model(str(path), load_external_data=False)
    except Exception as error:  # protobuf and onnx raise half a dozen unrelated types here
        raise _damaged(path, str(error) or type(error).__name__) from error
    if not model.ir_version or not model.opset_import or not model.graph.output:
        raise _damaged(path, "it has no IR version, operator set or output")
    try:
        return _File(path, model, onnx).inspect()
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise _damaged(path, str(error) or type(error).__name__) from error


def _damaged(path: Path, why: str) -> ModelRefused:
    return ModelRefused(
        f"{path} ({path.stat().st_size:,} bytes) is truncated or damaged: {why.splitlines()[0]}",
        expected="a whole .onnx file",
        remedy="copy or convert the file again",
    )


class _File:
    """One file on its way to an `Inspection`.

    Names are unique over a graph and the graphs inside its operators, so one table of each kind serves all.
    """

    def __init__(self, path: Path, model: Any, onnx: Any) -> None:
        self.path, self.onnx = path, onnx
        self.model = onnx.inliner.inline_local_functions(model) if model.functions else model
        self.tally = Tally()
        self.notes: list[str] = []
        self.types: dict[str, tuple[str, macs.Shape | None]] = {}
        self.stored: dict[str, Any] = {}
        self.producers: dict[str, Any] = {}
        self.consumers: dict[str, Any] = {}
        self.external: dict[str, int] = {}
        self.parts: Counter[str] = Counter()

    def inspect(self) -> Inspection:
        graph = self.model.graph
        moved = [_sort(inner) for inner in reversed(list(_graphs(graph)))]  # inner graphs first: outer ones are copied
        if any(moved):
            self.notes.append("operators are not in topological order, as ONNX asks for: some tools refuse the file")
        for inner in _graphs(graph):
            self._link(inner)
        for inner in _graphs(graph):
            self._measure_constants(inner)
        initializers = {item.name for item in graph.initializer}
        ends = [item for item in graph.input if item.name not in initializers], list(graph.output)
        inputs, outputs = (tuple(self._info(item.name, *self._type(item.type)) for item in items) for items in ends)
        self._infer()
        inner_graphs = list(_graphs(self.model.graph))
        self.tally.flow = costs.Flow() if len(inner_graphs) == 1 else None
        for inner in inner_graphs:
            self._count(inner)
        self._complete_flow([item.name for item in inputs], [item.name for item in outputs])
        size = self.path.stat().st_size
        metadata = self._metadata()
        return Inspection(
            file=self.path.name,
            format="onnx",
            bytes=size + sum(self.external.values()),
            version=", ".join(
                [f"IR {self.model.ir_version}"]
                + [f"{item.domain or 'opset'} {item.version}" for item in self.model.opset_import]
            ),
            producer=f"{self.model.producer_name} {self.model.producer_version}".strip() or "not stated",
            inputs=inputs,
            outputs=outputs,
            operators=self.tally.operators(),
            parameters=self.tally.parameters,
            macs=self.tally.macs,
            weights=self.tally.weights(),
            precisions=self.tally.precisions(),
            parts=self._parts(size, metadata),
            metadata=metadata,
            notes=(*self.tally.notes(), *self.notes),
            resources=self.tally.resources(),
        )

    def _link(self, graph: Any) -> None:
        for node in graph.node:
            self.producers.update(dict.fromkeys(node.output, node))
            for position, name in enumerate(node.input):
                self.consumers.setdefault(name, []).append((node.op_type, position, node))
        for item in (*graph.input, *graph.output, *graph.value_info):
            self.types[item.name] = self._type(item.type)

    def _dtype(self, number: int) -> str:
        name = str(self.onnx.TensorProto.DataType.Name(number)).lower()
        return DTYPES.get(name, name)

    def _type(self, kind: Any) -> tuple[str, macs.Shape | None]:
        """Return dtype and shape of a value; what is no tensor has its kind as dtype and no shape."""
        if kind.WhichOneof("value") != "tensor_type":
            return kind.WhichOneof("value") or "unknown", None
        dtype = self._dtype(kind.tensor_type.elem_type)
        if not kind.tensor_type.HasField("shape"):
            return dtype, None
        sizes = (item.dim_value if item.HasField("dim_value") else -1 for item in kind.tensor_type.shape.dim)
        return dtype, tuple(None if size < 0 else size for size in sizes)

    def _measure_constants(self, graph: Any) -> None:
        """Count every stored tensor, then drop the values of large ones so that inference does not copy them."""
        for name, tensor in _constants(graph):
            dtype, shape = self._dtype(tensor.data_type), tuple(tensor.dims)
            size = self._bytes(tensor, dtype)
            self.types[name] = (dtype, shape)
            self.stored[name] = tensor
            uses = [(kind, position) for kind, position, _ in self.consumers.get(name, [])]
            if any(position in SCALES.get(kind, ()) for kind, position in uses):
                self.parts["scales and zero points"] += size
            elif dtype in INDEX_DTYPES and not any(BIASES.get(kind) == position for kind, position in uses):
                self.parts["shapes and indices"] += size
            else:
                self.tally.weight(dtype, math.prod(shape), size)
            if math.prod(shape) > SMALL:
                for values in VALUE_FIELDS:
                    tensor.ClearField(values)

    def _bytes(self, tensor: Any, dtype: str) -> int:
        """Size of a stored tensor, checked against what is there."""
        if any(size < 0 for size in tensor.dims):
            raise ValueError(f"tensor {tensor.name!r} has the shape {list(tensor.dims)}")
        if dtype == "undefined":
            raise ValueError(f"tensor {tensor.name!r} has no dtype")
        if dtype == "string":
            return sum(map(len, tensor.string_data))
        bits = PACKED_BITS.get(dtype) or 8 * self.onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        needed = int(math.prod(tensor.dims) * bits + 7) // 8
        if tensor.data_location == self.onnx.TensorProto.EXTERNAL:
            location, size = check_external_data(self.path, tensor, needed)
            self.external[location] = size
            self.parts["padding of external data"] -= needed
        elif tensor.HasField("raw_data") and len(tensor.raw_data) != needed:
            raise ValueError(f"tensor {tensor.name!r} has {len(tensor.raw_data):,} bytes instead of {needed:,}")
        elif needed and not any(len(getattr(tensor, values)) for values in VALUE_FIELDS):
            raise ValueError(f"tensor {tensor.name!r} has no values")
        return needed

    def _info(self, name: str, dtype: str, shape: macs.Shape | None) -> TensorInfo:
        """Describe a graph input or output, with the scale of the operator that (de)quantizes it directly."""
        producer = self.producers.get(name)
        if producer is not None and producer.op_type in ("QuantizeLinear", "QLinearConv", "QLinearMatMul"):
            pair = producer.input[1:3] if producer.op_type == "QuantizeLinear" else producer.input[6:8]
            return TensorInfo(name, shape or (), dtype, *self._scale(pair))
        for kind, position, node in self.consumers.get(name, []):
            if kind in ("DequantizeLinear", "QLinearConv", "QLinearMatMul") and position == 0:
                return TensorInfo(name, shape or (), dtype, *self._scale(node.input[1:3]))
        return TensorInfo(name, shape or (), dtype)

    def _scale(self, names: Any) -> tuple[float | None, int]:
        """Read a per-tensor scale and zero point; none where they are per channel or computed."""
        scale, *zero_point = (self.stored.get(name) for name in names)
        tensors = [item for item in (scale, *zero_point) if item is not None]
        local = all(item.data_location != self.onnx.TensorProto.EXTERNAL for item in tensors)
        if scale is None or not local or any(math.prod(item.dims) != 1 for item in tensors):
            return None, 0
        values = [self.onnx.numpy_helper.to_array(item).reshape(()) for item in tensors]
        return float(values[0]), int(values[1]) if len(values) > 1 else 0

    def _infer(self) -> None:
        """Fill in the shapes between the operators; a dynamic batch counts as 1."""
        graph = self.model.graph
        values = [item.type.tensor_type.shape.dim for item in (*graph.input, *graph.output, *graph.value_info)]
        batches = {item.type.tensor_type.shape.dim[0].dim_param for item in graph.input if _rank(item)} - {""}
        for dims in values:
            for position, size in enumerate(dims):
                unnamed = position == 0 and not size.HasField("dim_value") and not size.dim_param
                if size.dim_param in batches or unnamed:
                    size.dim_value = 1
        try:
            self.model = self.onnx.shape_inference.infer_shapes(self.model, data_prop=True)
        except Exception as error:  # onnx raises types of its own; without shapes the rest is still worth showing
            self.notes.append(f"shapes between the operators could not be inferred: {str(error).splitlines()[0]}")

    def _count(self, graph: Any) -> None:
        for item in (*graph.input, *graph.output, *graph.value_info):
            if item.name not in self.stored:
                self.types[item.name] = self._type(item.type)
        for node in graph.node:
            self._operator(node)

    def _operator(self, node: Any) -> None:
        standard = node.domain in ("", "ai.onnx")
        name = node.op_type if standard else f"{node.domain}::{node.op_type}"
        known = self.onnx.defs.has(node.op_type, "" if standard else node.domain)
        self.tally.operator(name, custom=not known, loop=name in LOOPS)
        inputs, outputs = ([self._operand(item) for item in names] for names in (node.input, node.output))
        step = costs.Step(node.name or next(iter(node.output), name), name, tuple(node.input), tuple(node.output))
        compute = _einsum(node) if name == "Einsum" else macs.ONNX.get(name)
        if compute is None:
            if name != "Constant":
                self._add_step(step)
            return
        try:
            count = compute.formula(inputs, outputs)
        except macs.UnknownShape:
            count = None
        data, weights = (self._before_dequantization(node.input[at]) for at in (compute.data, compute.weights))
        granularity = self._granularity(node, node.input[compute.weights])
        dtypes = self._dtype_of(data), self._dtype_of(weights)
        self.tally.multiply(name, count, (*dtypes, granularity))
        self._add_step(replace(step, macs=count or 0, int8=costs.eight_bit(*dtypes, hybrid=name in HYBRIDS)))

    def _add_step(self, step: costs.Step) -> None:
        if self.tally.flow is not None:
            self.tally.flow.steps.append(step)

    def _complete_flow(self, inputs: list[str], outputs: list[str]) -> None:
        if (flow := self.tally.flow) is not None:
            flow.inputs, flow.outputs = tuple(inputs), tuple(outputs)
            flow.constants.update(self.stored)
            flow.sizes.update({name: costs.tensor_bytes(*kind) for name, kind in self.types.items()})

    def _operand(self, name: str) -> macs.Operand:
        return macs.Operand(self.types.get(name, ("", None))[1] if name else (), name in self.stored)

    def _before_dequantization(self, name: str) -> str:
        node = self.producers.get(name)
        return str(node.input[0]) if node is not None and node.op_type == "DequantizeLinear" else name

    def _dtype_of(self, name: str) -> str:
        return self.types.get(name, ("unknown", None))[0]

    def _granularity(self, node: Any, weights: str) -> str:
        """Tell from its scale how the weight operand of an operator is quantized."""
        source = self.producers.get(weights)
        if source is not None and source.op_type == "DequantizeLinear":
            scale = source.input[1]
        elif node.op_type in WEIGHT_SCALES:
            scale = node.input[WEIGHT_SCALES[node.op_type]]
        else:
            return ""
        shape = self.types.get(scale, ("", None))[1]
        return "" if shape is None else "per channel" if math.prod(n or 1 for n in shape) > 1 else "per tensor"

    def _metadata(self) -> dict[str, str]:
        found = {"graph": self.model.graph.name, "domain": self.model.domain, "doc": self.model.doc_string}
        found.update({item.key: item.value for item in self.model.metadata_props})
        return {key: value for key, value in found.items() if value}

    def _parts(self, size: int, metadata: dict[str, str]) -> tuple[SizePart, ...]:
        self.parts["padding of external data"] += sum(self.external.values())
        self.parts["metadata"] = sum(len(key.encode()) + len(value.encode()) for key, value in metadata.items())
        parts = [SizePart(f"weights {row.dtype}", row.bytes) for row in self.tally.weights()]
        parts += [SizePart(name, count) for name, count in self.parts.items()]
        rest = size + sum(self.external.values()) - sum(part.bytes for part in parts)
        return tuple(part for part in (*parts, SizePart("graph structure", rest)) if part.bytes)


def _graphs(graph: Any) -> Iterator[Any]:
    """Return a graph and the graphs inside its operators (If, Loop, Scan), at any depth."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    yield from _graphs(inner)


def _sort(graph: Any) -> bool:
    """Put the operators of a graph in topological order, which shape inference needs.

    Returns:
        Whether they were in another order.
    """
    made_by = {name: number for number, node in enumerate(graph.node) for name in node.output}
    needs = {
        number: {made_by[name] for name in _reads(node) & made_by.keys()} for number, node in enumerate(graph.node)
    }
    if all(before < number for number, befores in needs.items() for before in befores):
        return False
    nodes = [graph.node[number] for number in TopologicalSorter(needs).static_order()]
    del graph.node[:]
    graph.node.extend(nodes)
    return True


def _reads(node: Any) -> set[str]:
    """Names that an operator reads, in the graphs inside it too."""
    inner = [graph for attribute in node.attribute for graph in (attribute.g, *attribute.graphs) if graph.node]
    return set(node.input).union(*(_reads(item) for graph in inner for item in graph.node))


def _constants(graph: Any) -> Iterator[tuple[str, Any]]:
    """Return the stored tensors of one graph: initializers and the values of Constant nodes."""
    for tensor in graph.initializer:
        yield tensor.name, tensor
    for sparse in graph.sparse_initializer:
        yield sparse.values.name, sparse.values
    for node in graph.node:
        if node.op_type == "Constant" and node.output:
            yield from ((node.output[0], item.t) for item in node.attribute if item.name == "value")


def _rank(value: Any) -> int:
    return len(value.type.tensor_type.shape.dim)


def _einsum(node: Any) -> macs.Compute:
    equation = next((item.s.decode() for item in node.attribute if item.name == "equation"), "")
    return macs.Compute(lambda inputs, outputs: macs.einsum(equation, inputs))
