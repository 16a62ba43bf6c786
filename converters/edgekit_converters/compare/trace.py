"""An artifact of any precision as a list of activations that can be watched in real units.

`FloatGraph` shows float models; here the same models are seen after quantization too: QUANTIZE and DEQUANTIZE are no
layers, an integer tensor is read through its scale, and a name is the one that it had in the float model.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekit.engine import Array, Feeds, TensorInfo, format_of
from edgekit_converters.quantize.channel_record import ChannelFactors

_SUFFIX = re.compile(
    r"(_quantized|_dequantized|_dequant|_requantized|_requant|_u?int(8|16)|_(De)?[qQ]uantizeLinear(_(In|Out)put)?"
    r"|#\d+)$"
)


@dataclass(frozen=True)
class Grid:
    """How a quantized tensor stores its values: ``(q - zero_point) * scale``.

    Attributes:
        dtype: numpy dtype name of ``q``.
        scale: Distance of two neighbouring values.
        zero_point: ``q`` of the value 0.
    """

    dtype: str
    scale: float
    zero_point: int

    @property
    def low(self) -> float:
        """Smallest value that can be stored."""
        return (np.iinfo(self.dtype).min - self.zero_point) * self.scale

    @property
    def high(self) -> float:
        """Largest value that can be stored."""
        return (np.iinfo(self.dtype).max - self.zero_point) * self.scale

    def decode(self, stored: Array) -> Array:
        """Turn stored integers into float32."""
        values: Array = (stored.astype(np.int32) - self.zero_point) * np.float32(self.scale)
        return values.astype(np.float32, copy=False)


@dataclass(frozen=True)
class Activation:
    """What one layer gives, or an input.

    Attributes:
        name: Name that it has in the float model.
        tensor: Tensor of this file that holds it, behind its quantization.
        operator: Operator that computes it, as the format calls it; ``input`` for an input.
        sources: Tensors of the activations that it is computed from.
        weight: Shape of the layer's constant weights; ``None`` without weights.
        grid: How it is stored; ``None`` for floats.
    """

    name: str
    tensor: str
    operator: str
    sources: tuple[str, ...]
    weight: tuple[int, ...] | None = None
    grid: Grid | None = None


class Trace(ABC):
    """An open artifact whose activations can be watched.

    Attributes:
        path: The file.
        format: ``tflite`` or ``onnx``.
        inputs: Tensors that it takes; quantized ones with scale and zero point.
        activations: In the order they are computed; first the inputs, all of them and in the order of ``inputs``.
        factors: Activation of the float model -> what its channels are multiplied by here, as edgekit's quantizer
            noted it in the file.
    """

    path: Path
    format: str
    inputs: tuple[TensorInfo, ...]
    activations: tuple[Activation, ...]
    factors: Mapping[str, ChannelFactors]

    @property
    def is_float(self) -> bool:
        """Whether no activation is stored in integers."""
        return all(activation.grid is None for activation in self.activations)

    def watch(self, feeds: Feeds, tensors: Collection[str]) -> dict[str, Array]:
        """Run one sample.

        Args:
            feeds: Input tensor -> array; floats for quantized inputs.
            tensors: `Activation.tensor` of those wanted.

        Returns:
            Tensor -> float32 values. What turned out to be no number (an integer without a scale) is left out.

        Raises:
            DataRefused: The engine cannot run it.
        """
        stored = {info.name: info.quantize(np.asarray(feeds[info.name])) for info in self.inputs}
        grids = {activation.tensor: activation.grid for activation in self.activations}
        found = {}
        for tensor, values in self._watch(stored, tensors).items():
            grid = grids.get(tensor)
            if grid is not None and values.dtype.name == grid.dtype:
                found[tensor] = grid.decode(values)
            elif values.dtype.kind == "f":
                found[tensor] = values.astype(np.float32, copy=False)
        return found

    @abstractmethod
    def _watch(self, feeds: Mapping[str, Array], tensors: Collection[str]) -> dict[str, Array]: ...

    @abstractmethod
    def close(self) -> None:
        """Release the engine."""


def float_name(tensor: str) -> str:
    """Name that a tensor had before a quantizer added to it.

    >>> float_name("dense/MatMul_quantized#12"), float_name("conv_DequantizeLinear_Output")
    ('dense/MatMul', 'conv')
    """
    while (shorter := _SUFFIX.sub("", tensor)) != tensor and shorter:
        tensor = shorter
    return tensor


def open_trace(path: Path, *, threads: int | None = None) -> Trace:
    """Open an artifact for watching. Raises ModelRefused when it cannot be loaded."""
    if format_of(path) == "tflite":
        from edgekit_converters.compare.trace_tflite import TFLiteTrace

        return TFLiteTrace(path, threads=threads)
    from edgekit_converters.compare.trace_onnx import OnnxTrace

    return OnnxTrace(path, threads=threads)
