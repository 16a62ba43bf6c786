"""Which activations share their channels, so that a channel can be scaled in one layer and unscaled in the next.

``relu(s·x) = s·relu(x)`` for ``s > 0``: between a layer that writes a channel and the layers that read it, a
positive factor may be moved freely. Residual additions, pooling and concatenation tie the channels of several
activations together; those form a group that is scaled as one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
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
    that scaling would change (a sigmoid, a softmax, a reshape that mixes channels, a weight used twice).
    """
    finder = _Finder({*graph.outputs, *(info.name for info in graph.inputs)})
    activations = set(graph.activations)
    layers = {layer.name: layer for layer in graph.layers}
    used = Counter(name for layer in graph.layers for name in (layer.weight, layer.bias))
    for node in graph.nodes:
        flow = graph.flow(node)
        layer = layers.get(node.name)
        if flow is None or (layer is not None and max(used[layer.weight], (layer.bias and used[layer.bias]) or 0) > 1):
            finder.fix(name for name in (*node.inputs, *node.outputs) if name in activations)
        else:
            finder.add(flow, layer)
    return finder.groups()


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
