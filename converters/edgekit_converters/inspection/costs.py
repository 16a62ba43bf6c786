"""What a graph costs: weights, bytes moved, and the memory that its activations need at once.

One form for both formats: a list of steps that read and write values. Engines run a dequantization as part of the
operator behind it, and a quantization as part of the one before it; they are folded away here too.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from edgekit.resources import OperatorResources, Resources
from edgekit_converters.inspection.macs import Shape

DEQUANTIZE = ("DEQUANTIZE", "DequantizeLinear")
QUANTIZE = ("QUANTIZE", "QuantizeLinear")
VIEWS = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "BITCAST", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity")
"""Operators that give the same bytes another shape."""

LOOKUPS = ("GATHER", "GATHER_ND", "EMBEDDING_LOOKUP", "Gather", "GatherND", "GatherElements")
"""Operators that read of their first input no more than they write."""

ELEMENT_WISE = frozenset(
    word
    for line in (
        "ADD SUB MUL DIV MAXIMUM MINIMUM SQUARED_DIFFERENCE RELU RELU6 RELU_N1_TO_1 RELU_0_TO_1 PRELU LEAKY_RELU ELU",
        "GELU HARD_SWISH LOGISTIC TANH EXP LOG SQRT RSQRT SQUARE ABS NEG FLOOR CEIL ROUND POW SOFTMAX LOG_SOFTMAX",
        "Add Sub Mul Div Max Min Relu Clip PRelu LeakyRelu Elu Selu Gelu HardSwish HardSigmoid Sigmoid Tanh Erf Exp",
        "Log Sqrt Reciprocal Abs Neg Floor Ceil Round Pow Softmax LogSoftmax Softplus Softsign Mish Swish Where Not",
        "BatchNormalization LayerNormalization InstanceNormalization Cast",
        "com.microsoft::BiasGelu com.microsoft::Gelu com.microsoft::QuickGelu com.microsoft::SkipLayerNormalization",
    )
    for word in line.split()
)
"""Operators whose output can be written over an input: the same number of elements, each needed once."""

_PACKED_BITS = {"int4": 4, "uint4": 4, "float4e2m1": 4, "int2": 2, "uint2": 2}
_EIGHT_BITS = ("int8", "uint8", "int4", "uint4", "int2", "uint2")
_TWO_BYTES = ("bfloat16",)


@dataclass(frozen=True)
class Step:
    """One operator.

    Attributes:
        name: As in `OperatorResources`.
        kind: Operator type.
        inputs: Values read; the empty name stands for an optional one that is absent.
        outputs: Values written.
        macs: Multiply-accumulate operations.
        int8: Whether an 8-bit kernel multiplies.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    macs: int = 0
    int8: bool = False


@dataclass
class Flow:
    """A graph without control flow.

    Attributes:
        inputs: Values given.
        outputs: Values wanted.
        steps: In the order in which they run.
        sizes: Value -> bytes; dynamic ones may be missing.
        constants: Values that are stored in the file.
    """

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    steps: list[Step] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    constants: set[str] = field(default_factory=set)


def tensor_bytes(dtype: str, shape: Shape | None) -> int:
    """Bytes of a tensor; 0 where its shape is unknown or it holds no numbers, dynamic dimensions count as 1."""
    if shape is None:
        return 0
    elements = math.prod(1 if size is None else size for size in shape)
    if dtype in _PACKED_BITS:
        return -(-elements * _PACKED_BITS[dtype] // 8)
    try:
        width = 2 if dtype in _TWO_BYTES else 1 if dtype.startswith("float8") else np.dtype(dtype).itemsize
    except TypeError:
        return 0
    return int(elements * width)


def eight_bit(data: str, weights: str, *, hybrid: bool) -> bool:
    """Whether an 8-bit kernel multiplies operands of these dtypes.

    Args:
        data: dtype of the activations as stored.
        weights: dtype of the other factor as stored.
        hybrid: Whether the operator quantizes float activations itself where its weights are integers.
    """
    return weights in _EIGHT_BITS and (data in _EIGHT_BITS or (hybrid and data.startswith("float")))


def account(flow: Flow) -> Resources:
    """Count what one inference costs."""
    flow = folded(flow)
    traffic = [step_traffic(step, flow) for step in flow.steps]
    operators = [
        OperatorResources(step.name, step.kind, step.macs, _weights(step, flow), moved, step.int8)
        for step, moved in zip(flow.steps, traffic, strict=True)
        if step.macs
    ]
    read = {name for step in flow.steps for name in step.inputs if name in flow.constants}
    return Resources(
        macs=sum(step.macs for step in flow.steps),
        weight_bytes=sum(flow.sizes.get(name, 0) for name in read),
        peak_activation_bytes=peak_activation_bytes(flow),
        traffic_bytes=sum(traffic),
        int8_macs=sum(step.macs for step in flow.steps if step.int8),
        weights_read_bytes=_weights_read(flow),
        operators=tuple(operators),
    )


def costs_by_kind(flow: Flow) -> dict[str, tuple[int, int]]:
    """Operator type -> weight bytes and traffic bytes of all its operators; those folded away are missing."""
    flow = folded(flow)
    found: dict[str, tuple[int, int]] = {}
    for step in flow.steps:
        weights, moved = found.get(step.kind, (0, 0))
        found[step.kind] = (weights + _weights(step, flow), moved + step_traffic(step, flow))
    return found


def folded(flow: Flow) -> Flow:
    """Return the graph with quantizations made part of the operators beside them.

    A value that is dequantized counts as it was before; one that does nothing but be quantized as it is after. At the
    graph's ends they stay: there the values are needed as they are.
    """
    uses = Counter(name for step in flow.steps for name in step.inputs)
    quantized = Counter(step.inputs[0] for step in flow.steps if step.kind in QUANTIZE)
    wanted = set(flow.outputs)
    fixed = {*flow.inputs, *flow.outputs, *flow.constants}
    stands_for: dict[str, str] = {}

    def real(name: str) -> str:
        seen = {name}
        while (after := stands_for.get(name)) is not None and after not in seen:
            seen.add(name := after)
        return name

    steps = []
    for step in flow.steps:
        source = step.inputs[0] if step.inputs else ""
        if step.kind in DEQUANTIZE and step.outputs and not set(step.outputs) & wanted:
            stands_for[step.outputs[0]] = real(source)
        elif (
            step.kind in QUANTIZE
            and step.outputs
            and source not in fixed
            and source not in stands_for
            and uses[source] == quantized[source] == 1
        ):
            stands_for[source] = step.outputs[0]
        else:
            steps.append(step)

    def renamed(names: Iterable[str]) -> tuple[str, ...]:
        return tuple(real(name) for name in names)

    return replace(
        flow, steps=[replace(step, inputs=renamed(step.inputs), outputs=renamed(step.outputs)) for step in steps]
    )


def step_traffic(step: Step, flow: Flow) -> int:
    """Bytes that one operator reads and writes, each value once; a view moves none, a lookup what it writes."""
    if step.kind in VIEWS:
        return 0
    written = sum(flow.sizes.get(name, 0) for name in step.outputs)
    names = dict.fromkeys(step.inputs)
    if step.kind in LOOKUPS and step.inputs:
        names.pop(_table(step))
        written *= 2
    return written + sum(flow.sizes.get(name, 0) for name in names)


def peak_activation_bytes(flow: Flow) -> int:
    """Largest sum of values that are alive at the same time."""
    last = _last_uses(flow)
    alive = {name: flow.sizes.get(name, 0) for name in flow.inputs}
    total = peak = sum(alive.values())
    for number, step in enumerate(flow.steps):
        dying = [name for name in dict.fromkeys(step.inputs) if name in alive and last.get(name) == number]
        taken_over = _reused(step, dying, flow.sizes)
        if taken_over is not None:
            total -= alive.pop(taken_over)
        for name in step.outputs:
            if name and name not in alive:
                alive[name] = flow.sizes.get(name, 0)
                total += alive[name]
        peak = max(peak, total)
        for name in {*dying, *step.outputs}:
            if last.get(name, -1) <= number:
                total -= alive.pop(name, 0)
    return peak


def _last_uses(flow: Flow) -> dict[str, float]:
    last: dict[str, float] = {name: number for number, step in enumerate(flow.steps) for name in step.inputs}
    return {**last, **dict.fromkeys(flow.outputs, math.inf)}


def _reused(step: Step, dying: Sequence[str], sizes: Mapping[str, int]) -> str | None:
    """The input over which the output is written."""
    if (step.kind not in ELEMENT_WISE and step.kind not in VIEWS) or len(step.outputs) != 1:
        return None
    needed = sizes.get(step.outputs[0], 0)
    return next((name for name in dying if sizes.get(name, 0) == needed), None)


def _table(step: Step) -> str:
    """What a lookup reads rows of: TFLite's EMBEDDING_LOOKUP has it second."""
    return step.inputs[1 if step.kind == "EMBEDDING_LOOKUP" else 0]


def _weights(step: Step, flow: Flow) -> int:
    return sum(flow.sizes.get(name, 0) for name in dict.fromkeys(step.inputs) if name in flow.constants)


def _weights_read(flow: Flow) -> int:
    """Bytes of constants that one inference reads: of what is only looked up, the rows."""
    whole: dict[str, int] = {}
    for step in flow.steps:
        for position, name in enumerate(step.inputs):
            if name in flow.constants:
                size = flow.sizes.get(name, 0)
                if step.kind in LOOKUPS and position == step.inputs.index(_table(step)):
                    size = min(size, sum(flow.sizes.get(output, 0) for output in step.outputs))
                whole[name] = max(whole.get(name, 0), size)
    return sum(whole.values())
