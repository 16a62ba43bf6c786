"""An int8 model in the form that TensorRT takes: signed, symmetric, with explicit Q/DQ nodes.

Our int8 files have unsigned or shifted activations, which CPUs compute best. TensorRT refuses them ("Non-zero zero
point is not supported"), and 32-bit biases too. Two ways lead from the bundle's scales to an int8 engine. A calibration
table beside the float model is deprecated since TensorRT 10.1, lets TensorRT choose what runs in int8, and throws away
the rounding of the weights that the conversion optimised. Q/DQ nodes keep those weights and say exactly what is int8;
all releases since 8.6 take them, later ones take nothing else. So the file is rewritten in memory:

- an activation of range [low, high] gets the scale ``max(-low, high) / 127`` and the zero point 0. TensorRT has no
  unsigned activations: behind a ReLU this costs one bit;
- the quantizer of an unsigned activation also did the work of a ReLU or ReLU6 that was dropped for it: its lower end
  becomes a ReLU again, its upper end is that of the new scale;
- biases become floats of the same value; integer inputs and outputs become floats.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekit.engine import ONNX_IO_METADATA
from edgekit.errors import ModelRefused
from edgekit_runtimes.engines.onnx_file import FLOAT, FLOAT16, INT8, INT32, UINT8, Graph, Node, fields

FORM = 1
"""Raised when the same file is rewritten in another way: engines that were built before are not used then."""

_INPUTS, _OUTPUTS = 11, 12
_METADATA = 14
_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
_LIMITS = {UINT8: (0, 255), INT8: (-128, 127)}
_ZERO = "edgekit_zero_point"
_NEVER_NEGATIVE = ("Relu", "Sigmoid", "HardSigmoid", "Softmax", "Abs", "Exp", "Sqrt")
_MOVES = (
    *("MaxPool", "AveragePool", "GlobalAveragePool", "Concat", "Reshape", "Flatten", "Transpose", "Squeeze"),
    *("Unsqueeze", "Slice", "Split", "Gather", "Resize", "Identity", "Pad", "Expand"),
)
_SHAPED_BY_MORE = ("Concat",)
"""Operators of which every input, not the first alone, is moved."""


@dataclass(frozen=True)
class Rewritten:
    """A model for TensorRT.

    Attributes:
        precision: ``int8`` when it has quantized layers, else ``fp16`` when it has half-precision weights, or ``fp32``.
        model: What to build the engine from; ``None`` when it is the file as it is.
    """

    precision: str
    model: bytes | None = None


def for_tensorrt(path: Path) -> Rewritten:
    """Return a model's precision, and its symmetric form when it is int8.

    Args:
        path: The ``.onnx`` file. Its external data has been checked.

    Raises:
        ModelRefused: It is damaged, or quantized in a way that has no symmetric int8 form.
    """
    try:
        return _rewritten(Graph(path))
    except (ValueError, OverflowError) as error:
        raise ModelRefused(
            f"{path} ({path.stat().st_size} bytes) is damaged: {error}",
            expected="a whole .onnx file",
            remedy="copy or convert it again",
        ) from error


def _rewritten(graph: Graph) -> Rewritten:
    quantizers = [node for node in graph.nodes if node.kind in (_QUANTIZE, _DEQUANTIZE)]
    for node in quantizers:
        if len(node.inputs) < 2 or not node.outputs:
            raise _refused(graph, node, "a scale and an output")
    if not quantizers:
        half = any(graph.element_type(name) == FLOAT16 for name in graph.tensors)
        return Rewritten("fp16" if half else "fp32")
    _Rewriter(graph).rewrite()
    return Rewritten("int8", graph.written())


class _Rewriter:
    """Changes a graph in place; see the module."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        _float_edges(graph)
        self.makers = {name: node for node in graph.nodes for name in node.outputs}
        activations = [node for node in graph.nodes if self._of_activation(node)]
        self.ranges = {node.output: _range(graph, node) for node in activations}
        self.scales: dict[tuple[float, float], str] = {}
        self.nodes: list[Node] = []

    def rewrite(self) -> None:
        """Do it."""
        self.graph.store(_ZERO, np.zeros((), np.int8))
        for node in self.graph.nodes:
            if node.output in self.ranges:
                self._activation(node)
            elif node.kind == _DEQUANTIZE and self.graph.element_type(node.inputs[0]) == INT32:
                self._bias(node)
            else:
                if node.kind == _DEQUANTIZE:
                    _check_weight(self.graph, node)
                self.nodes.append(node)
        self.graph.nodes = self.nodes
        _tidy(self.graph)

    def _of_activation(self, node: Node) -> bool:
        stored = node.kind == _DEQUANTIZE and self.graph.element_type(node.inputs[0]) is not None
        return node.kind in (_QUANTIZE, _DEQUANTIZE) and not stored

    def _activation(self, node: Node) -> None:
        """Give a quantizer, or what undoes it, the symmetric scale."""
        low, high = self.ranges[node.output]
        before = node.inputs[0]
        if node.kind == _QUANTIZE and low == 0 and not self._never_negative(before):
            relu = f"{node.output}_relu"
            self.nodes.append(Node("Relu", [before], [relu], relu))
            before = relu
        if (low, high) not in self.scales:
            name = f"edgekit_scale_{len(self.scales)}"
            self.graph.store(name, np.array(max(-low, high) / _LIMITS[INT8][1], np.float32))
            self.scales[low, high] = name
        node.inputs = [before, self.scales[low, high], _ZERO]
        self.nodes.append(node)

    def _never_negative(self, name: str) -> bool:
        """Tell whether a quantizer whose range starts at 0 cannot stand for an activation that was dropped."""
        maker = self.makers.get(name)
        if maker is None or maker.kind in _NEVER_NEGATIVE:  # without one it is an input of the model
            return True
        if maker.kind == _DEQUANTIZE:
            return self.ranges.get(maker.output, (-1.0, 1.0))[0] == 0
        if maker.kind not in _MOVES:
            return False
        moved = maker.inputs if maker.kind in _SHAPED_BY_MORE else maker.inputs[:1]
        return all(self._never_negative(each) for each in moved)

    def _bias(self, node: Node) -> None:
        """Put the float value of a 32-bit bias in its place."""
        values = self.graph.array(node.inputs[0]).astype(np.float64) * self.graph.array(node.inputs[1])
        self.graph.store(node.output, values.astype(np.float32))


def _range(graph: Graph, node: Node) -> tuple[float, float]:
    """Smallest and largest float that a quantizer of activations holds."""
    scale, zero = node.inputs[1], node.inputs[2] if len(node.inputs) > 2 else ""
    kind = graph.element_type(zero) if zero else UINT8
    if kind not in _LIMITS or graph.element_type(scale) != FLOAT:
        raise _refused(graph, node, "activations of 8 bits with a constant scale in float32")
    step = graph.array(scale)
    shift = graph.array(zero) if zero else np.zeros(1, np.uint8)
    if step.size != 1 or shift.size != 1:
        raise _refused(graph, node, "one scale for an activation")
    low, high = (limit - int(shift.item()) for limit in _LIMITS[kind])
    if kind == INT8 and high == _LIMITS[INT8][1]:
        low = -high  # symmetric as it is
    return low * float(step.item()), high * float(step.item())


def _check_weight(graph: Graph, node: Node) -> None:
    shifted = len(node.inputs) > 2 and graph.array(node.inputs[2]).any()
    if graph.element_type(node.inputs[0]) != INT8 or shifted:
        raise _refused(graph, node, "signed 8-bit weights with the zero point 0")


def _float_edges(graph: Graph) -> None:
    """Make integer inputs and outputs floats that are quantized inside."""
    edges = _integer_edges(graph)
    for name in graph.names(_INPUTS):
        reader = next((node for node in graph.nodes if name in node.inputs), None)
        if name not in edges or reader is None or reader.kind != _DEQUANTIZE:
            continue
        inner = f"{name}_quantized"
        for node in graph.nodes:
            node.inputs = [inner if each == name else each for each in node.inputs]
        graph.nodes.insert(0, Node(_QUANTIZE, [name, *reader.inputs[1:]], [inner], f"{name}_quantize"))
        graph.retype(name, FLOAT)
    for name in graph.names(_OUTPUTS):
        maker = next((node for node in graph.nodes if name in node.outputs), None)
        if name not in edges or maker is None or maker.kind != _QUANTIZE:
            continue
        maker.outputs = [f"{name}_quantized"]
        graph.nodes.append(Node(_DEQUANTIZE, [*maker.outputs, *maker.inputs[1:]], [name], f"{name}_dequantize"))
        graph.retype(name, FLOAT)


def _integer_edges(graph: Graph) -> Mapping[str, object]:
    """Inputs and outputs that the file's metadata gives a scale; the entry is taken out of the model."""
    edges: Mapping[str, object] = {}
    kept = []
    for number, wire, value in graph.model:
        entry = {}
        if number == _METADATA and isinstance(value, bytes):
            entry = {key: text for key, _, text in fields(value)}
        if entry.get(1) == ONNX_IO_METADATA.encode():
            edges = json.loads(bytes(entry.get(2, b"{}")))
        else:
            kept.append((number, wire, value))
    graph.model = kept
    return edges


def _tidy(graph: Graph) -> None:
    """Drop constants that nobody reads, and descriptions of tensors whose type has changed."""
    if not any(_holds_graph(node) for node in graph.nodes):
        used = {name for node in graph.nodes for name in node.inputs} | set(graph.names(_OUTPUTS))
        graph.tensors = {name: tensor for name, tensor in graph.tensors.items() if name in used}
    integers = {name for node in graph.nodes if node.kind == _QUANTIZE for name in node.outputs}
    graph.drop_descriptions(integers)


def _holds_graph(node: Node) -> bool:
    """Tell whether a node has a branch or body, which may read constants of the graph around it."""
    attributes = (value for number, _, value in node.rest if number == 5 and isinstance(value, bytes))
    return any(number in (6, 11) for attribute in attributes for number, _, _ in fields(attribute))


def _refused(graph: Graph, node: Node, expected: str) -> ModelRefused:
    return ModelRefused(
        f"{graph.path.name} is quantized in a way that TensorRT has no int8 for, at {node.name!r}",
        expected=expected,
        remedy="run the fp16 recipe on TensorRT, or this one with --engine onnxruntime:cuda",
    )
