"""What equalization multiplied channels by, kept in the artifact: whoever compares it with the float model needs it."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgekit.engine import Array

KEY = "edgekit.channel_factors"
"""Name of the entry in a TFLite file's metadata and an ONNX file's metadata properties."""
STEPS = 8
"""Factors are powers of the eighth root of 2, so that each is one byte in the file."""
_MOST = 255


@dataclass(frozen=True)
class ChannelFactors:
    """What the channels of an activation were multiplied by.

    Attributes:
        axis: The channel axis.
        exponents: Factor ``2 ** (exponent / 8)`` of each channel, uint8.
    """

    axis: int
    exponents: Array

    @property
    def values(self) -> Array:
        """The factors, float64, ``(channels,)``."""
        found: Array = 2.0 ** (self.exponents / STEPS)
        return found

    def along(self, ndim: int) -> Array:
        """The factors, float32, in a shape that broadcasts against an activation of so many axes."""
        return self.values.astype(np.float32).reshape([-1 if i == self.axis else 1 for i in range(ndim)])


def exponents_of(factors: Array) -> Array:
    """The largest exponents whose factors are not above those given (1 or more), uint8."""
    found: Array = np.clip(np.floor(STEPS * np.log2(factors) + 1e-9), 0, _MOST).astype(np.uint8)
    return found


def packed_factors(factors: Mapping[str, ChannelFactors]) -> bytes:
    """Write factors as they are stored: zlib over JSON, the exponents of activations that share them once."""
    tables: dict[bytes, int] = {}
    activations = {
        name: [found.axis, tables.setdefault(found.exponents.tobytes(), len(tables))] for name, found in factors.items()
    }
    stored = {"activations": activations, "exponents": [base64.b64encode(table).decode() for table in tables]}
    return zlib.compress(json.dumps(stored, separators=(",", ":")).encode(), 9)


def read_factors(data: bytes) -> dict[str, ChannelFactors]:
    """Read what :func:`packed_factors` wrote; nothing where it is something else."""
    try:
        stored = json.loads(zlib.decompress(data))
        tables = [np.frombuffer(base64.b64decode(table), np.uint8) for table in stored["exponents"]]
        return {name: ChannelFactors(axis, tables[place]) for name, (axis, place) in stored["activations"].items()}
    except (zlib.error, ValueError, KeyError, TypeError, IndexError):
        return {}
