"""What the int8 grid of each activation costs in the model's answers, and what leaving it in float would cost."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.engine import Array, Feeds
from edgekit_converters.quantize.calibration import Samples
from edgekit_converters.quantize.chosen import chosen_samples
from edgekit_converters.quantize.graph import FloatGraph, Node
from edgekit_converters.quantize.policy import Placement
from edgekit_converters.quantize.range_search import Judge
from edgekit_converters.quantize.ranges import Range

_SAMPLES = 8
_BEARABLE = 0.02


@dataclass(frozen=True)
class Sensitivity:
    """One activation.

    Attributes:
        activation: Its name.
        error: Mean relative L2 of the model's outputs with this activation alone rounded to 8 bits.
        nodes: Nodes that have to compute in float for it to stay in float: its writer and its readers.
    """

    activation: str
    error: float
    nodes: tuple[str, ...]


def sensitivities(graph: FloatGraph, samples: Samples, ranges: Mapping[str, Range]) -> list[Sensitivity]:
    """Round one activation after the other, in one pass over the activations, on eight calibration samples.

    Args:
        graph: The float graph.
        samples: Calibration data; the eight are the same ones in any order.
        ranges: Ranges of the activations.

    Returns:
        The costliest first.
    """
    judge = Judge(graph, chosen_samples(samples, _SAMPLES), {})
    found = [
        Sensitivity(name, judge.error({name: span}), _around(graph.nodes, name))
        for name, span in ranges.items()
        if name not in graph.outputs and name not in graph.fused
    ]
    graph.simulate({})
    return sorted(found, key=lambda item: -item.error)


def unbearable_results(
    graph: FloatGraph, samples: Samples, ranges: Mapping[str, Range], placement: Placement
) -> frozenset[str]:
    """Dense layers whose result must not be rounded to 8 bits.

    In transformers a few channels of some results are a hundred times as large as the others (Bondarenko et al.,
    "Understanding and Overcoming the Challenges of Efficient Transformer Quantization", arXiv 2109.12948): no range
    serves both.

    Args:
        graph: The float graph.
        samples: Calibration data; eight of them are used.
        ranges: Ranges of the activations.
        placement: What stays in float in any case.

    Returns:
        Names of layers whose result alone, rounded, moves the answers by more than one part in fifty.
    """
    judge = Judge(graph, chosen_samples(samples, _SAMPLES), {})
    found = frozenset(
        layer.name
        for layer in graph.layers
        if layer.window is None
        and layer.name not in placement.last_layers
        and layer.output in ranges
        and judge.error({layer.output: ranges[layer.output]}) > _BEARABLE
    )
    graph.simulate({})
    return found


def _around(nodes: Sequence[Node], name: str) -> tuple[str, ...]:
    return tuple(node.name for node in nodes if name in node.outputs or name in node.inputs)


def multiplications(graph: FloatGraph, sample: Feeds) -> dict[str, int]:
    """Multiplications of each layer for one sample: layer name -> count."""
    outputs = graph.watch(sample, [layer.output for layer in graph.layers])
    found = {}
    for layer in graph.layers:
        weight: Array = graph.weight(layer.weight)
        found[layer.name] = int(outputs[layer.output].size) * int(weight.size // weight.shape[layer.weight_axis])
    return found


def float_orders(found: Sequence[Sensitivity], costs: Mapping[str, int]) -> list[frozenset[str]]:
    """Growing sets of nodes to leave in float: those that take most of the error for the fewest multiplications first.

    Args:
        found: Sensitivities.
        costs: Layer name -> multiplications.

    Returns:
        Sets of node names, each containing the one before; the first is empty.
    """
    sets: list[frozenset[str]] = [frozenset()]
    left = list(found)
    while left:
        inside = sets[-1]
        best = max(left, key=lambda item: _gain(item, costs, inside))
        left.remove(best)
        sets.append(inside | set(best.nodes))
    return list(dict.fromkeys(sets))


def _gain(item: Sensitivity, costs: Mapping[str, int], inside: Collection[str]) -> float:
    """Squared error that goes for each multiplication that becomes float."""
    added = sum(costs.get(name, 0) for name in item.nodes if name not in inside)
    return float(np.square(item.error)) / max(added, 1)
