"""Which operators an integer recipe leaves in float, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from edgekit_converters.quantize.graph import FloatGraph, Layer, Node
from edgekit_converters.quantize.ranges import Range
from edgekit_converters.quantize.recipes import IoType

SOFTMAX = frozenset(("SOFTMAX", "Softmax"))
# After the last weights these cost little in float; resizing and pooling a whole map does not.
CHEAP_TAIL = (
    SOFTMAX
    | frozenset(("LOGISTIC", "LOG_SOFTMAX", "TANH", "ADD", "SUB", "MUL", "DIV", "EXP", "MAXIMUM", "MINIMUM"))
    | frozenset(("CONCATENATION", "RESHAPE", "TRANSPOSE", "SQUEEZE", "EXPAND_DIMS", "SLICE", "STRIDED_SLICE"))
    | frozenset(("SPLIT", "PACK", "UNPACK", "GATHER", "ARG_MAX", "CAST", "L2_NORMALIZATION", "SQRT", "RSQRT"))
    | frozenset(("Sigmoid", "LogSoftmax", "Tanh", "Add", "Sub", "Mul", "Div", "Exp", "Max", "Min", "Concat", "Cast"))
    | frozenset(("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Split", "Gather", "ArgMax"))
    | frozenset(("Identity", "Sqrt", "Reciprocal", "LpNormalization", "QUANTIZE", "DEQUANTIZE"))
)
# What these give is on the grid of what they read.
SAME_GRID = (
    frozenset(("RESHAPE", "TRANSPOSE", "SQUEEZE", "EXPAND_DIMS", "SLICE", "STRIDED_SLICE", "SPLIT", "GATHER", "PAD"))
    | frozenset(("MAX_POOL_2D", "AVERAGE_POOL_2D", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"))
    | frozenset(("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Split", "Gather", "Pad"))
    | frozenset(("MaxPool", "AveragePool", "Resize"))
)
CONCATENATION = frozenset(("CONCATENATION", "Concat"))
# With 256 steps, a part 64 times narrower than the whole has 4 of them left.
UNEVEN = 64
DENSE = frozenset(("FULLY_CONNECTED", "Gemm", "MatMul"))
# So many dense layers with one weight, each computed from the one before, are a recurrent layer written out.
STEPS = 4


@dataclass(frozen=True)
class Placement:
    """Where integers end.

    Attributes:
        float_nodes: Names of the nodes that stay in float.
        last_layers: Names of dense layers before the output: int8 weights, but a float result.
        attention: Whether the model was taken for a transformer.
        notes: What was left in float and why, for the user.
    """

    float_nodes: frozenset[str]
    last_layers: frozenset[str]
    attention: bool
    notes: tuple[str, ...]


NOTHING_IN_FLOAT = Placement(frozenset(), frozenset(), attention=False, notes=())


def place(graph: FloatGraph, io: IoType, *, activation_bits: int = 8) -> Placement:
    """Decide what stays in float under a static integer recipe.

    With float inputs and outputs, the cheap operators after the last weights stay in float, and the last dense
    layers give float results: on an int8 grid many of 1000 logits tie, a softmax cannot tell 0.998 from 1, and
    one scale over concatenated boxes and scores rounds the scores away. A 16-bit grid is fine enough for logits.

    In transformers everything but the layers with weights stays in float: softmax, normalization and GELU do
    not survive an int8 grid (MobileBERT: F1 88.8 to 2.1 in the TFLite documentation). So it is with recurrent layers
    whose steps are written out: what is rounded in the cell's state at every step adds up, and what goes into the
    gates reaches far beyond the few units that decide, so layers that prepare it for all steps give float results.
    """
    layers = {layer.name for layer in graph.layers}
    tail = _tail(graph.nodes) if io == "float" else frozenset()
    attention = _has_attention(graph.nodes)
    last = _last_dense(graph, tail) if io == "float" and activation_bits == 8 else frozenset()
    steps = _unrolled(graph)
    recurrent = bool(steps)
    if recurrent and activation_bits == 8 and io == "float":
        last |= {layer.name for layer in graph.layers if layer.window is None} - steps
    stays = {node.name for node in graph.nodes if (attention or recurrent) and node.name not in layers} | tail
    notes = []
    if attention:
        left = _operators(node for node in graph.nodes if node.name in stays)
        notes.append(
            f"a transformer: only layers with weights run in int8, in float stay {left}; dynamic-int8 is often closer"
        )
    elif recurrent:
        left = _operators(node for node in graph.nodes if node.name in stays)
        notes.append(
            f"a recurrent network: only layers with weights run in int8, those outside the steps ({len(last)}) give "
            f"float results, in float stay {left}"
        )
    elif stays:
        left = _operators(node for node in graph.nodes if node.name in stays)
        notes.append(f"after the last weights, in float: {left}")
    if last and not recurrent:
        notes.append(f"the last dense layer ({len(last)}) gives a float result: on an int8 grid its values would tie")
    return Placement(frozenset(stays), last, attention, tuple(notes))


def shared_grids(graph: FloatGraph, placement: Placement) -> dict[str, str]:
    """Activation -> the activation whose grid it has, for results of pooling, reshaping and the like."""
    found: dict[str, str] = {}
    for node in graph.nodes:
        if node.operator in SAME_GRID and node.name not in placement.float_nodes:
            source = found.get(node.inputs[0], node.inputs[0])
            found.update({name: source for name in node.outputs if source in graph.activations})
    return found


def with_float_results(placement: Placement, layers: frozenset[str]) -> Placement:
    """A placement in which more dense layers give float results."""
    if not layers:
        return placement
    note = f"{len(layers)} layers give float results: a few of their channels are far louder than the others"
    return replace(placement, last_layers=placement.last_layers | layers, notes=(*placement.notes, note))


def uneven_concatenations(graph: FloatGraph, ranges: Mapping[str, Range], placement: Placement) -> list[str]:
    """Warn of concatenations under one scale whose parts have wildly different ranges, as boxes and scores do."""
    notes = []
    for node in graph.nodes:
        if node.operator not in CONCATENATION or node.name in placement.float_nodes:
            continue
        widths = [ranges[name].width for name in node.inputs if name in ranges and ranges[name].width > 0]
        if len(widths) > 1 and max(widths) > UNEVEN * min(widths):
            notes.append(
                f"{node.name} puts values up to {max(widths):.3g} and up to {min(widths):.3g} wide under one int8 "
                "scale: the small ones lose their precision; give them as separate outputs or use float inputs and "
                "outputs"
            )
    return notes


def _operators(nodes: Iterable[Node]) -> str:
    return ", ".join(sorted({node.operator for node in nodes}))


def _tail(nodes: tuple[Node, ...]) -> frozenset[str]:
    """Cheap operators from which no weights are reached any more."""
    readers: dict[str, list[str]] = {}
    for node in nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node.name)
    tail: set[str] = set()
    for node in reversed(nodes):
        after = [reader for name in node.outputs for reader in readers.get(name, [])]
        if node.operator in CHEAP_TAIL and all(reader in tail for reader in after):
            tail.add(node.name)
    return frozenset(tail)


def _has_attention(nodes: tuple[Node, ...]) -> bool:
    """A softmax whose result is multiplied further is attention."""
    tainted: set[str] = set()
    for node in nodes:
        if node.operator in SOFTMAX:
            tainted.update(node.outputs)
        elif tainted & set(node.inputs):
            if node.operator in ("BATCH_MATMUL", "MatMul"):
                return True
            tainted.update(node.outputs)
    return False


def _unrolled(graph: FloatGraph) -> frozenset[str]:
    """Dense layers that are steps of a recurrent layer: one weight, each step computed from the one before.

    (A head shared by the levels of a detector has one weight too, but its levels do not depend on each other.)
    """
    sharing: dict[str, list[Layer]] = {}
    for layer in graph.layers:
        if layer.window is None:
            sharing.setdefault(layer.weight, []).append(layer)
    return frozenset(
        layer.name
        for steps in sharing.values()
        if len(steps) >= STEPS and steps[-1].input in _computed_from(graph.nodes, steps[0].output)
        for layer in steps
    )


def _computed_from(nodes: Iterable[Node], name: str) -> set[str]:
    """Everything that depends on an activation, itself included."""
    found = {name}
    for node in nodes:
        if not found.isdisjoint(node.inputs):
            found.update(node.outputs)
    return found


def _last_dense(graph: FloatGraph, tail: frozenset[str]) -> frozenset[str]:
    """Dense layers whose results reach only the output, through the tail alone."""
    in_tail = {name for node in graph.nodes if node.name in tail for name in node.inputs}
    elsewhere = {name for node in graph.nodes if node.name not in tail for name in node.inputs}
    found = set()
    operators = {node.name: node.operator for node in graph.nodes}
    for layer in graph.layers:
        leaves = layer.output in graph.outputs or layer.output in in_tail
        if operators[layer.name] in DENSE and leaves and layer.output not in elsewhere:
            found.add(layer.name)
    return frozenset(found)
