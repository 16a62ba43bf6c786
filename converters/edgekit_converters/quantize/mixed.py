"""The recipe ``mixed``: int8, with as few layers in float as the user's metric allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from edgekit.engine import Array
from edgekit_converters.quantize.calibration import Samples
from edgekit_converters.quantize.chosen import chosen_samples
from edgekit_converters.quantize.graph import FloatGraph
from edgekit_converters.quantize.policy import Placement
from edgekit_converters.quantize.ranges import Range
from edgekit_converters.quantize.sensitivity import float_orders, multiplications, sensitivities

Accept = Callable[[Path], bool]
"""Whether an artifact is close enough to the original."""
# With more than this part of the multiplications in float, int8 is no longer what the user gets.
MOST_IN_FLOAT = 0.5


@dataclass(frozen=True)
class Mixed:
    """What was chosen.

    Attributes:
        placement: What stays in float.
        accepted: Whether the artifact was close enough.
        note: For the user.
    """

    placement: Placement
    accepted: bool
    note: str


def choose_mixed(
    graph: FloatGraph,
    samples: Samples,
    ranges: Mapping[str, Range],
    placement: Placement,
    *,
    original: dict[str, Array],
    accepted: Callable[[Placement], bool],
) -> Mixed:
    """Find the smallest set of float layers that is accepted.

    Sets grow by what takes most of the error away for the fewest float multiplications. Their sizes are doubled
    until one is accepted, then halved in between.

    Args:
        graph: The graph with its weights rounded.
        samples: Calibration data.
        ranges: Ranges of the activations.
        placement: What stays in float in any case.
        original: Weights and biases before they were rounded: layers in float get them back.
        accepted: Whether the artifact written from the graph with a placement is close enough.

    Returns:
        The choice; the graph is left with the weights that go with it.
    """
    rounded = {name: graph.weight(name) for name in original}
    graph.replace_weights(original)
    found = sensitivities(graph, samples, ranges)
    costs = multiplications(graph, chosen_samples(samples, 1)[0])
    total = max(sum(costs.values()), 1)
    sets = [
        nodes
        for nodes in float_orders(found, costs)
        if sum(costs.get(name, 0) for name in nodes) <= MOST_IN_FLOAT * total
    ]

    def prepare(nodes: frozenset[str]) -> Placement:
        weights = dict(rounded)
        for layer in graph.layers:
            if layer.name in nodes:
                weights.update({name: original[name] for name in (layer.weight, layer.bias) if name in original})
        graph.replace_weights(weights)
        return grown(placement, nodes)

    size, fits = _smallest(len(sets), lambda size: accepted(prepare(sets[size])))
    chosen = prepare(sets[size])
    nodes = sets[size]
    layers = [layer.name for layer in graph.layers if layer.name in nodes]
    part = sum(costs.get(name, 0) for name in nodes) / total
    what = f"mixed: {len(layers)} of {len(graph.layers)} layers in float, {part:.1%} of the multiplications"
    if not fits:
        what += f"; even with {MOST_IN_FLOAT:.0%} in float the calibration data are not answered closely enough"
    return Mixed(chosen, fits, what)


def grown(placement: Placement, nodes: frozenset[str]) -> Placement:
    """A placement with more nodes in float."""
    return replace(placement, float_nodes=placement.float_nodes | nodes, last_layers=placement.last_layers - nodes)


def _smallest(count: int, accepted: Callable[[int], bool]) -> tuple[int, bool]:
    """The smallest size that is accepted, by doubling and halving; the largest if none is."""
    if accepted(0):
        return 0, True
    low, high = 0, 1
    while high < count and not accepted(high):
        low, high = high, high * 2
    if high >= count:
        high = count - 1
        if high <= low or not accepted(high):
            return high, False
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if accepted(middle) else (middle, high)
    return high, True
