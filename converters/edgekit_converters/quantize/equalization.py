"""Cross-layer equalization: channels of an activation are brought closer together before they share one scale.

Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", arXiv 1906.04721; here the
ranges are those of the activations on calibration data and are moved half way, as in SmoothQuant (Xiao et al.,
arXiv 2211.10438), so that the weights which undo it stay easy to round. Residual connections, pooling, padding,
ReLU and ReLU6 are followed. The float model answers as before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgekit.engine import Array
from edgekit_converters.quantize.calibration import Samples
from edgekit_converters.quantize.channel_record import ChannelFactors, exponents_of
from edgekit_converters.quantize.channels import Group, channel_groups
from edgekit_converters.quantize.graph import FloatGraph, Layer
from edgekit_converters.quantize.ranges import MASKED, becomes_nan
from edgekit_converters.quantize.rounding import as_matrix, from_matrix, is_known

STRENGTH = 0.5
"""0 leaves the channels as they are, 1 makes their ranges equal."""
# Every channel's range is widened by this part of the widest: rare values of a quiet channel still find room.
_FLOOR = 0.05
# ReLU6 clips in the model itself. A channel may be made louder there only if all samples agree on how loud it is
# (mean² / mean square of their peaks), and only so far that 1.5 times its peak is not clipped.
_AGREEMENT = 0.8
_MARGIN = 1.5
_SILENT = 0.01


@dataclass
class ChannelPeaks:
    """Largest magnitude of each channel of an activation, over all samples and on average.

    Attributes:
        top: Of all samples, float64, ``(channels,)``.
        agreement: 1 where every sample has the same peak, towards 0 where few samples make it.
    """

    top: Array
    agreement: Array


def equalize(graph: FloatGraph, samples: Samples) -> dict[str, ChannelFactors]:
    """Scale channels in the weights that write them, and back in those that read them.

    Args:
        graph: The float graph; its weights, biases and added constants are replaced.
        samples: Calibration data, gone through a few times.

    Returns:
        Activation -> what its channels were multiplied by, for those that were scaled.
    """
    groups = [
        group for group in channel_groups(graph) if all(is_known(graph, x) for x in (*group.writers, *group.readers))
    ]
    if not groups:
        return {}
    seen = channel_peaks(graph, samples, {name: axis for group in groups for name, axis in group.tensors.items()})
    before: dict[str, Array] = {}
    after: dict[str, Array] = {}
    changed: dict[str, Array] = {}
    scaled: dict[str, ChannelFactors] = {}
    for group in groups:
        exponents = exponents_of(channel_factors(group, seen))
        if not exponents.any():
            continue
        found = {name: ChannelFactors(axis, exponents) for name, axis in group.tensors.items()}
        factors = next(iter(found.values())).values
        scaled.update(found)
        after.update({layer.name: factors for layer in group.writers})
        before.update({layer.name: factors for layer in group.readers})
        for name in group.constants:
            values = graph.weight(name)
            changed[name] = values * factors.reshape([-1 if size > 1 else 1 for size in values.shape])
    uses = Counter(name for layer in graph.layers for name in (layer.weight, layer.bias))
    uses.update(changed)
    for layer in graph.layers:
        if layer.name in before or layer.name in after:
            new = _rescaled(graph, layer, before.get(layer.name), after.get(layer.name))
            alone = {name: values for name, values in new.items() if uses[name] == 1}
            graph.replace_weights(alone)  # layer by layer: all new weights are never in memory together
            changed.update({name: values for name, values in new.items() if name not in alone})
    graph.replace_weights(changed)
    return scaled


def channel_peaks(graph: FloatGraph, samples: Samples, axes: Mapping[str, int]) -> dict[str, ChannelPeaks]:
    """Go through the samples, a few activations at a time.

    Args:
        graph: The float graph.
        samples: Calibration data.
        axes: Activation -> channel axis.

    Raises:
        DataRefused: An activation is NaN on a sample.
    """
    sums: dict[str, tuple[Array, Array, Array, int]] = {}
    for name, values in graph.visit_all(samples, list(axes)):
        others = tuple(i for i in range(values.ndim) if i != axes[name])
        peak = np.maximum(values.max(axis=others), -values.min(axis=others)).astype(np.float64)
        if np.isnan(peak).any():
            raise becomes_nan(name)
        peak = np.minimum(peak, MASKED)
        top, total, squares, count = sums.get(name, (peak, np.zeros_like(peak), np.zeros_like(peak), 0))
        sums[name] = np.maximum(top, peak), total + peak, squares + peak**2, count + 1
    return {
        name: ChannelPeaks(top, total**2 / np.maximum(squares * count, 1e-30))
        for name, (top, total, squares, count) in sums.items()
    }


def channel_factors(group: Group, seen: Mapping[str, ChannelPeaks]) -> Array:
    """One factor a channel, float64, 1 or more."""
    top = np.max([seen[name].top for name in group.tensors], axis=0)
    if not top.max() > 0:
        return np.ones_like(top)
    if not group.limits:
        top = top + _FLOOR * top.max()
    factors = (top.max() / np.maximum(top, 1e-30)) ** STRENGTH
    for name, limit in group.limits.items():
        peaks = seen[name]
        room = limit / np.maximum(peaks.top * _MARGIN, 1e-30)
        usable = (peaks.agreement > _AGREEMENT) & (room > 1) & (peaks.top > _SILENT * limit)
        factors = np.where(usable, np.minimum(factors, room), 1.0)
    found: Array = factors
    return found


def _rescaled(graph: FloatGraph, layer: Layer, before: Array | None, after: Array | None) -> dict[str, Array]:
    """Weight and bias of a layer whose inputs and outputs are multiplied by factors."""
    weight = graph.weight(layer.weight)
    matrix = as_matrix(layer, weight).astype(np.float64)
    groups, outputs, columns = matrix.shape
    if before is not None:
        shared = before.reshape(groups, 1, 1, -1)
        matrix = (matrix.reshape(groups, outputs, -1, shared.shape[-1]) / shared).reshape(groups, outputs, columns)
    found: dict[str, Array] = {}
    if after is not None:
        matrix = matrix * after.reshape(groups, outputs, 1)
        if layer.bias is not None:
            bias = graph.weight(layer.bias)
            found[layer.bias] = (bias * after.reshape(bias.shape)).astype(np.float32)
    found[layer.weight] = from_matrix(layer, matrix, weight.shape)
    return found
