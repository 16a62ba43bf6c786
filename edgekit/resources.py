"""What one inference of an artifact costs, whatever the machine: arithmetic, weights, memory, bytes moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True)
class OperatorResources:
    """One operator that multiplies.

    Attributes:
        name: In an ``.onnx`` file the operator's name, otherwise that of its first output.
        kind: Operator type, in the format's own spelling.
        macs: Multiply-accumulate operations.
        weight_bytes: Stored bytes of its constants.
        traffic_bytes: Weights, inputs and outputs, once each.
        int8: Whether an 8-bit kernel multiplies.
    """

    name: str
    kind: str
    macs: int
    weight_bytes: int
    traffic_bytes: int
    int8: bool = False


@dataclass(frozen=True)
class Resources:
    """What one inference of one input costs; dynamic dimensions count as 1, or as the file declares them.

    A dequantization in front of an operator and a quantization behind it are part of that operator, as engines run
    them: tensors count as stored.

    Attributes:
        macs: Multiply-accumulate operations.
        weight_bytes: Stored bytes of the weights and other constants that operators read.
        peak_activation_bytes: Largest sum of tensors alive at once: the arena that a perfect planner needs. An
            element-wise operator writes over an input that nobody needs any more.
        traffic_bytes: Weights, inputs and outputs of every operator, once each.
        int8_macs: Those of ``macs`` that 8-bit kernels multiply.
        weights_read_bytes: Those of ``weight_bytes`` that one inference reads: of a table of embeddings some rows.
        operators: Those that multiply, in the order in which they run.
    """

    macs: int
    weight_bytes: int
    peak_activation_bytes: int
    traffic_bytes: int
    int8_macs: int = 0
    weights_read_bytes: int = 0
    operators: tuple[OperatorResources, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form: each operator is a row with the values in the order of `OperatorResources`."""
        return {**asdict(self), "operators": [list(asdict(operator).values()) for operator in self.operators]}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Resources:
        """Read the JSON form; what a later version added is passed over. Raises TypeError for anything else."""
        known = {field.name: raw[field.name] for field in fields(cls) if field.name in raw}
        return cls(**{**known, "operators": tuple(OperatorResources(*row) for row in raw.get("operators", ()))})
