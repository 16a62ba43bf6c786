"""A float artifact as quantization sees it: activations that can be watched, layers whose weights can be replaced.

Calibration, ranges and rounding work on this view and so serve every format alike.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edgekit.engine import Array, Feeds, TensorInfo
from edgekit_converters.quantize.ranges import Range

HELD_BYTES = 8 * 2**20
"""Activations of a sample that are watched at once, as long as that takes few passes."""
PatchLayout = Literal["NHWC", "NCHW"]


@dataclass(frozen=True)
class Window:
    """How a convolution slides over its input.

    Attributes:
        layout: Layout of the layer's input.
        kernel: Height and width, in taps.
        strides: Along height and width.
        dilations: Along height and width.
        pads: Rows above, columns left, rows below, columns right.
        groups: Channel groups; the number of channels for a depthwise convolution.
    """

    layout: PatchLayout
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]
    groups: int


@dataclass(frozen=True)
class Layer:
    """One node with constant weights that are stored in int8.

    Attributes:
        name: Name of the node.
        input: Activation that the weights are multiplied with.
        weight: Name of the constant.
        bias: Name of the bias constant, ``None`` without one.
        output: Activation that the node writes.
        weight_axis: Axis of the output channels in the stored weight; one scale each.
        window: For convolutions in two dimensions; ``None`` for dense layers.
    """

    name: str
    input: str
    weight: str
    bias: str | None
    output: str
    weight_axis: int
    window: Window | None = None


@dataclass(frozen=True)
class Node:
    """One operator.

    Attributes:
        name: Unique name.
        operator: Operator as the format calls it, e.g. ``CONV_2D`` or ``Conv``.
        inputs: Tensors it reads, constants included.
        outputs: Tensors it writes.
    """

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Flow:
    """What a node does with channels that are scaled by positive factors.

    Attributes:
        tied: Activations whose channels scale together -> channel axis, the output last; for a layer its output.
        reads: Activations whose channels a layer sums up -> channel axis.
        constants: Constants added to a channel, which scale along; biases of layers are not listed.
        limit: Value above which the node clips, ``None`` without one.
    """

    tied: Mapping[str, int]
    reads: Mapping[str, int] = field(default_factory=dict)
    constants: tuple[str, ...] = ()
    limit: float | None = None


class FloatGraph(ABC):
    """A float artifact, open for watching and for new weights.

    Attributes:
        path: The file.
        inputs: Tensors the artifact takes.
        outputs: Names of the tensors it gives.
        activations: Names of all float32 tensors that depend on the input, inputs and outputs included.
        layers: Nodes with constant weights, in the order they run.
        nodes: All operators of the main graph, in the order they run.
        fused: Activations that an int8 artifact never rounds: the node that reads them becomes one with their writer.
    """

    path: Path
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[str, ...]
    activations: tuple[str, ...]
    layers: tuple[Layer, ...]
    nodes: tuple[Node, ...]
    fused: frozenset[str] = frozenset()

    @abstractmethod
    def watch(self, feeds: Feeds, names: Collection[str]) -> dict[str, Array]:
        """Run one sample and return the activations asked for, as float32 arrays with the batch first.

        Under a simulation these are the values before they are rounded.
        """

    def elements(self, name: str) -> int:
        """Number of values of an activation, at least: sizes that are not fixed count as 1, no shape as 0."""
        return 0

    def visit(self, feeds: Feeds, names: Collection[str]) -> Iterator[tuple[str, Array]]:
        """Run one sample and yield the activations asked for one after the other; otherwise as ``watch``."""
        yield from self.watch(feeds, names).items()

    def visit_all(self, samples: Iterable[Feeds], names: Collection[str]) -> Iterator[tuple[str, Array]]:
        """Run all samples and yield the activations asked for: some of them for all samples, then the next some.

        The samples are gone through as often as it takes to hold no more than a quarter of a sample's activations
        at once, or what :data:`HELD_BYTES` says if that is more.
        """
        for some in self._some(names):
            for sample in samples:
                yield from self.visit(sample, some)

    def _some(self, names: Collection[str]) -> Iterator[list[str]]:
        sizes = {name: 4 * self.elements(name) for name in names}
        limit = max(HELD_BYTES, sum(sizes.values()) // 4)
        some: list[str] = []
        held = 0
        for name, size in sizes.items():
            if some and held + size > limit:
                yield some
                some, held = [], 0
            some.append(name)
            held += size
        if some:
            yield some

    @abstractmethod
    def flow(self, node: Node) -> Flow | None:
        """What the node does with scaled channels; ``None`` where scaling would change its result."""

    @abstractmethod
    def simulate(self, ranges: Mapping[str, Range]) -> None:
        """Round activations as an int8 artifact would from now on: ``watch`` then returns what their readers read.

        Args:
            ranges: Activation -> its range; the others stay in float. An empty mapping ends the simulation.
        """

    @abstractmethod
    def weight(self, name: str) -> Array:
        """Return a constant as it is stored, float32."""

    @abstractmethod
    def replace_weights(self, weights: Mapping[str, Array]) -> None:
        """Put other values of the same shape in place of constants; the next ``watch`` runs with them."""

    @abstractmethod
    def divide_input(self, name: str, factors: Array, readers: Collection[str]) -> None:
        """Let layers read an activation divided by one factor a channel, its last axis, instead of the activation.

        A node that multiplies is added; names of nodes and activations that were there stay.

        Args:
            name: The activation.
            factors: ``(channels,)``.
            readers: Names of the layers.
        """

    @abstractmethod
    def close(self) -> None:
        """Release the engine."""
