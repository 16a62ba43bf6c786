"""Correction of the last layer's biases by what rounding everything before it does to the mean of the answers.

Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", arXiv 1906.04721, section 4.2,
applied where nothing comes behind: inside the network the mean that clipped outliers make must not be made up for,
because that moves all other positions away, but a score that is too low on average is just too low.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from edgekit.engine import Array, Feeds
from edgekit_converters.quantize.graph import FloatGraph, Layer
from edgekit_converters.quantize.policy import Placement
from edgekit_converters.quantize.ranges import Range

# About a tenth of the squared error of MobileNetV2's logits is their mean's: with this many samples the mean of what
# is left is as large, and half of what is seen is made up for.
_HALF = 10


def final_layers(graph: FloatGraph, placement: Placement) -> list[Layer]:
    """Dense layers with biases that give float results and are followed by no more weights; none in transformers."""
    if placement.attention:
        return []
    read = {name for node in graph.nodes if node.name not in placement.float_nodes for name in node.inputs}
    return [
        layer
        for layer in graph.layers
        if layer.name in placement.last_layers and layer.bias is not None and layer.output not in read
    ]


def mean_results(graph: FloatGraph, samples: Iterable[Feeds], layers: Sequence[Layer]) -> tuple[dict[str, Array], int]:
    """Mean result of each channel, float64, and the number of samples.

    Args:
        graph: The graph, in float or under a simulation.
        samples: Calibration data, gone through once.
        layers: Dense layers; channels are the last axis of what they give.
    """
    names = [layer.output for layer in layers]
    sums: dict[str, Array] = {}
    count = 0
    for sample in samples:
        count += 1
        for name, values in graph.watch(sample, names).items():
            means = values.reshape(-1, values.shape[-1]).mean(0, dtype=np.float64)
            sums[name] = sums.get(name, 0.0) + means
    return {name: total / count for name, total in sums.items()}, count


def correct_results(
    graph: FloatGraph,
    samples: Iterable[Feeds],
    ranges: Mapping[str, Range],
    layers: Sequence[Layer],
    wanted: Mapping[str, Array],
) -> None:
    """Let the biases of layers take up what rounding moves the mean of their results by; the graph holds them then.

    Args:
        graph: The graph with rounded weights.
        samples: The calibration data that the wanted means are of.
        ranges: Ranges of the activations that are rounded.
        layers: The layers.
        wanted: Activation -> mean of each channel in float.
    """
    graph.simulate(ranges)
    got, count = mean_results(graph, samples, layers)
    graph.simulate({})
    for layer in layers:
        if layer.bias is None:
            continue
        bias = graph.weight(layer.bias)
        moved = (wanted[layer.output] - got[layer.output]) * count / (count + _HALF)
        if moved.size == bias.size:
            graph.replace_weights({layer.bias: (bias + moved.reshape(bias.shape)).astype(np.float32)})
