"""Scales of weights: symmetric, one an output channel."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgekit.engine import Array
from edgekit_converters.quantize.graph import FloatGraph, Layer
from edgekit_converters.quantize.ranges import Range

WEIGHT_STEPS = 127
# A bias is an int32 of scale (input scale * weight scale); two bits are left for the sum it is added to.
_BIAS_STEPS = 2.0**29
_SMALLEST = 1e-12


def channel_maxima(weight: Array, axis: int) -> Array:
    """Largest magnitude of each output channel, float64, shape ``(channels,)``."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    found: Array = np.abs(weight).max(axis=others).astype(np.float64)
    return found


def weight_scales(graph: FloatGraph, layer: Layer, ranges: Mapping[str, Range], *, levels: int) -> Array:
    """Scale of each output channel of a layer under a static recipe.

    ``max(|w|) / 127``, but never so small that the bias, stored in int32 with the scale ``input * weight``,
    would be clipped: a channel of nearly zero weights (frequent after batch normalization is folded into a
    depthwise convolution) lives from its bias alone.

    Args:
        graph: The float graph.
        layer: The layer.
        ranges: Ranges of the activations.
        levels: Steps of the activation grid, 256 or 65536.

    Returns:
        float64 array of shape ``(channels,)``.
    """
    scales = np.maximum(channel_maxima(graph.weight(layer.weight), layer.weight_axis) / WEIGHT_STEPS, _SMALLEST)
    if layer.bias is None or layer.input not in ranges:
        return scales
    source = ranges[layer.input]
    width = source.width if levels <= 256 else 2 * max(source.high, -source.low)
    input_scale = max(width / (levels - 1), 1e-12)
    bias = np.abs(graph.weight(layer.bias).reshape(-1).astype(np.float64))
    if bias.size != scales.size:
        return scales
    return np.maximum(scales, bias / (input_scale * _BIAS_STEPS))


def along(values: Array, axis: int, ndim: int) -> Array:
    """Reshape one value a channel so that it broadcasts against the weight."""
    return values.reshape([-1 if i == axis else 1 for i in range(ndim)])
