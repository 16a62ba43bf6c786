"""Which activations share their channels, so that a channel can be scaled in one layer and unscaled in the next.

``relu(s·x) = s·relu(x)`` for ``s > 0``: between a layer that writes a channel and the layers that read it, a
positive factor may be moved freely. Residual additions, pooling and concatenation tie the channels of several
activations together; those form a group that is scaled as one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from edgekit_converters.quantize.graph import FloatGraph, Flow, Layer


@dataclass
class Group:
    """Activations whose channels scale together.

    Attributes:
        tensors: Their names -> channel axis.
        writers: Layers that produce them.
        readers: Layers that multiply them.
        constants: Constants that scale along.
        limits: Activation -> value above which it is clipped.
    """

    tensors: dict[str, int] = field(default_factory=dict)
    writers: list[Layer] = field(default_factory=list)
    readers: list[Layer] = field(default_factory=list)
    constants: list[str] = field(default_factory=list)
    limits: dict[str, float] = field(default_factory=dict)


def channel_groups(graph: FloatGraph) -> list[Group]:
    """Find the groups whose channels may be scaled without changing what the model computes.

    A group is left out if one of its activations is an input or output of the model, or is touched by a node
    that scaling would change (a sigmoid, a softmax, a reshape that mixes channels, a constant used twice).
    """
    activations = {*graph.activations}
    finder = _Finder({*graph.outputs, *(info.name for info in graph.inputs)})
    layers = {layer.name: layer for layer in graph.layers}
    used = Counter(name for node in graph.nodes for name in node.inputs)
    used.update(graph.outputs)
    for node in graph.nodes:
        flow, layer = graph.flow(node), layers.get(node.name)
        if flow is None or any(used[name] > 1 for name in _scaled(flow, layer)) or (flow.reads and layer is None):
            finder.fix((*node.inputs, *node.outputs))
        else:
            finder.fix({*flow.tied, *flow.reads} - activations)
            finder.add(flow, layer)
    return finder.groups()


def _scaled(flow: Flow, layer: Layer | None) -> Iterator[str]:
    """Constants that a node's channels scale; whatever else reads one would see it scaled too."""
    yield from flow.constants
    if layer is not None:
        yield layer.weight
        if layer.bias is not None:
            yield layer.bias


class _Finder:
    """Joins activations into groups (union-find)."""

    def __init__(self, fixed: set[str]) -> None:
        self._fixed = fixed
        self._parent: dict[str, str] = {}
        self._axes: dict[str, int] = {}
        self._flows: list[tuple[Flow, Layer | None]] = []

    def fix(self, names: Iterable[str]) -> None:
        """Activations that must not be scaled."""
        self._fixed.update(names)

    def add(self, flow: Flow, layer: Layer | None) -> None:
        """Take in a node."""
        first = next(iter(flow.tied))
        for name, axis in (*flow.tied.items(), *flow.reads.items()):
            if self._axes.setdefault(name, axis) != axis:
                self._fixed.add(name)
        for name in flow.tied:
            self._parent[self._root(name)] = self._root(first)
        self._flows.append((flow, layer))

    def _root(self, name: str) -> str:
        while self._parent.setdefault(name, name) != name:
            name = self._parent[name]
        return name

    def groups(self) -> list[Group]:
        """Groups with layers on both sides and nothing fixed."""
        found: dict[str, Group] = {}
        for name, axis in self._axes.items():
            found.setdefault(self._root(name), Group()).tensors[name] = axis
        for flow, layer in self._flows:
            *_, output = flow.tied
            group = found[self._root(output)]
            group.constants.extend(flow.constants)
            if flow.limit is not None:
                group.limits[output] = flow.limit
            if layer is not None:
                group.writers.append(layer)
                found[self._root(layer.input)].readers.append(layer)
        fixed = {self._root(name) for name in self._fixed if name in self._axes}
        return [group for name, group in found.items() if name not in fixed and group.writers and group.readers]
