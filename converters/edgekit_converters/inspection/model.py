"""What `edgekit inspect` finds in an artifact, the same for every format."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgekit.engine import TensorInfo
from edgekit.resources import Resources
from edgekit_converters.inspection.costs import Flow, account, costs_by_kind

__all__ = ["Inspection", "OperatorRow", "PrecisionRow", "SizePart", "Tally", "TensorInfo", "WeightRow"]


@dataclass(frozen=True)
class OperatorRow:
    """All operators of one type.

    Attributes:
        name: Type, in the format's own spelling; with its domain where that is not the standard one.
        count: How often it occurs in the file.
        macs: Multiply-accumulate operations of all of them for one sample.
        custom: Whether it is outside the standard operator set (custom, Flex, contrib).
        weight_bytes: Stored bytes of the constants that they read.
        traffic_bytes: Weights, inputs and outputs, once each; ``None`` where control flow leaves it unknown.
    """

    name: str
    count: int
    macs: int = 0
    custom: bool = False
    weight_bytes: int = 0
    traffic_bytes: int | None = None


@dataclass(frozen=True)
class PrecisionRow:
    """The operators that multiply and accumulate with one pair of dtypes.

    Attributes:
        activations: dtype of the data operand, looking through a dequantization in front of the operator.
        weights: dtype of the other operand, likewise.
        granularity: ``per channel`` or ``per tensor`` for quantized weights, otherwise empty.
        operators: Number of operators.
        macs: Their multiply-accumulate operations for one sample.
    """

    activations: str
    weights: str
    granularity: str
    operators: int
    macs: int


@dataclass(frozen=True)
class WeightRow:
    """The weights stored in one dtype.

    Attributes:
        dtype: dtype as stored.
        elements: Number of weights.
        bytes: Size in the file.
        share: Part of all weights, 0..1.
    """

    dtype: str
    elements: int
    bytes: int
    share: float


@dataclass(frozen=True)
class SizePart:
    """One part of the file: its name and its size in bytes."""

    name: str
    bytes: int


@dataclass(frozen=True)
class Inspection:
    """A `.tflite` or `.onnx` file, summarised.

    Attributes:
        file: File name.
        format: ``tflite`` or ``onnx``.
        bytes: Size, with the external data it points to.
        version: Schema version, or IR version and operator sets.
        producer: Tool that wrote it, as far as the file says.
        inputs: Input tensors in the file's order.
        outputs: Output tensors in the file's order.
        operators: Operators by type, the most frequent first.
        parameters: Number of weights; constants that are shapes, axes, scales or zero points do not count.
        macs: Multiply-accumulate operations for one sample (batch 1); a lower bound where ``notes`` says so.
        weights: Weights by dtype, the most bytes first.
        precisions: Multiplying operators by the dtypes they work in, the most MACs first.
        parts: What the bytes are spent on; sums to ``bytes``.
        metadata: Key -> value as stored.
        notes: What could not be determined, and what deserves attention.
        resources: What one inference costs; ``None`` with control flow, or where dynamic shapes leave it unknown.
    """

    file: str
    format: str
    bytes: int
    version: str
    producer: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    operators: tuple[OperatorRow, ...]
    parameters: int
    macs: int
    weights: tuple[WeightRow, ...]
    precisions: tuple[PrecisionRow, ...]
    parts: tuple[SizePart, ...]
    metadata: Mapping[str, str]
    notes: tuple[str, ...] = ()
    resources: Resources | None = None

    @property
    def custom_operators(self) -> tuple[str, ...]:
        """Types outside the standard operator set: the file needs a runtime that brings them."""
        return tuple(row.name for row in self.operators if row.custom)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        raw = dataclasses.asdict(self)
        for tensor in (*raw["inputs"], *raw["outputs"]):
            if tensor["scale"] is not None and not math.isfinite(tensor["scale"]):
                tensor["scale"] = str(tensor["scale"])  # JSON has no NaN, and it should be seen
        return {**raw, "custom_operators": list(self.custom_operators)}


@dataclass
class Tally:
    """Counts while a file is read; `operators` and `precisions` return the result.

    Attributes:
        flow: The graph; ``None`` where it has control flow.
    """

    _counts: Counter[str] = field(default_factory=Counter)
    _macs: Counter[str] = field(default_factory=Counter)
    _custom: set[str] = field(default_factory=set)
    _uncounted: Counter[str] = field(default_factory=Counter)
    _loops: set[str] = field(default_factory=set)
    _pairs: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    _pair_macs: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    _elements: Counter[str] = field(default_factory=Counter)
    _bytes: Counter[str] = field(default_factory=Counter)
    flow: Flow | None = None

    def operator(self, name: str, *, custom: bool = False, loop: bool = False) -> None:
        """Count one operator. A loop runs its body an unknown number of times."""
        self._counts[name] += 1
        if custom:
            self._custom.add(name)
        if loop:
            self._loops.add(name)

    def multiply(self, name: str, macs: int | None, pair: tuple[str, str, str]) -> None:
        """Count the work of one operator; ``None`` where a dynamic shape leaves it unknown.

        Args:
            name: Operator type.
            macs: Multiply-accumulate operations.
            pair: dtype of the data, dtype of the weights and their granularity, as in `PrecisionRow`.
        """
        if macs is None:
            self._uncounted[name] += 1
        self._macs[name] += macs or 0
        self._pairs[pair] += 1
        self._pair_macs[pair] += macs or 0

    def weight(self, dtype: str, elements: int, size: int) -> None:
        """Count one weight tensor."""
        self._elements[dtype] += elements
        self._bytes[dtype] += size

    @property
    def macs(self) -> int:
        """All multiply-accumulate operations counted."""
        return self._macs.total()

    @property
    def parameters(self) -> int:
        """All weights counted."""
        return self._elements.total()

    def operators(self) -> tuple[OperatorRow, ...]:
        """Operators by type, the most frequent first."""
        order = sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))
        costs = costs_by_kind(self.flow) if self.flow is not None else {}
        return tuple(
            OperatorRow(name, count, self._macs[name], name in self._custom, *costs.get(name, (0, None)))
            for name, count in order
        )

    def resources(self) -> Resources | None:
        """What one inference costs; ``None`` where it is not known."""
        return None if self.flow is None or self._uncounted or self._loops else account(self.flow)

    def precisions(self) -> tuple[PrecisionRow, ...]:
        """Multiplying operators by dtypes, the most MACs first."""
        order = sorted(self._pairs, key=lambda pair: (-self._pair_macs[pair], pair))
        return tuple(PrecisionRow(*pair, self._pairs[pair], self._pair_macs[pair]) for pair in order)

    def weights(self) -> tuple[WeightRow, ...]:
        """Weights by dtype, the most bytes first."""
        total = self.parameters or 1
        order = sorted(self._bytes, key=lambda dtype: (-self._bytes[dtype], dtype))
        return tuple(WeightRow(t, self._elements[t], self._bytes[t], self._elements[t] / total) for t in order)

    def notes(self) -> list[str]:
        """Say what the counts leave out."""
        notes = [
            f"MACs are a lower bound: {count} x {name} has a shape that is known only when it runs"
            for name, count in sorted(self._uncounted.items())
        ]
        if silent := sorted(self._custom - set(self._macs)):
            notes.append(f"MACs of operators outside the standard set are not counted: {', '.join(silent)}")
        if self._loops:
            notes.append(f"MACs are a lower bound: the body of {', '.join(sorted(self._loops))} is counted once")
        return notes
