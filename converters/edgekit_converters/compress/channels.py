"""Sets of channels that go together, whatever the framework, and how much each of them matters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit.engine import Array
from edgekit_converters.compress.choice import Part


@dataclass(frozen=True)
class Use:
    """A layer that reads or makes the channels of a set.

    Attributes:
        layer: Name of the layer.
        reads: Whether it reads them (its input shrinks); otherwise it makes them (its output shrinks).
        indices: Places in the layer.
        roots: For each place the channel of the set that lies there.
    """

    layer: str
    reads: bool
    indices: tuple[int, ...]
    roots: tuple[int, ...]

    def places(self, channels: Iterable[int]) -> list[int]:
        """The places where some of the set's channels lie."""
        wanted = set(channels)
        return [place for place, root in zip(self.indices, self.roots, strict=True) if root in wanted]


@dataclass(frozen=True)
class ChannelSet:
    """Channels that can only be removed together from all layers that make or read them.

    Attributes:
        root: Name of the layer that names the channels.
        size: Number of channels.
        uses: The convolutions and dense layers that make or read them.
    """

    root: str
    size: int
    uses: tuple[Use, ...]

    @property
    def readers(self) -> tuple[Use, ...]:
        """The layers that mix the channels into new ones."""
        return tuple(use for use in self.uses if use.reads)


@dataclass(frozen=True)
class Cost:
    """What a layer costs.

    Attributes:
        macs: Multiply-accumulates for one input.
        parameters: Weights.
        inputs: Channels that it reads.
        outputs: Channels that it makes.
    """

    macs: int
    parameters: int
    inputs: int
    outputs: int


def parts_of(costs: Mapping[str, Cost], sets: Sequence[ChannelSet]) -> dict[str, Part]:
    """Parts of the layers, each with one set at most on either side.

    A layer that reads several sets, after a concatenation, is as many parts: its cost is linear in each of them.

    Args:
        costs: Layer -> what it costs.
        sets: The channels that may go.

    Returns:
        Parts by a name of their own; all of them together cost what the layers cost.
    """
    found = {}
    for layer, cost in costs.items():
        taken, made = (
            _shares(layer, reads, count, sets) for reads, count in ((True, cost.inputs), (False, cost.outputs))
        )
        for one, by_input in taken.items():
            for other, by_output in made.items():
                share = by_input * by_output
                sides = tuple(side for side in (one, other) if side)
                part = Part(round(cost.macs * share), round(cost.parameters * share), sides)
                found[f"{layer} {one}>{other}"] = part
    return found


def _shares(layer: str, reads: bool, count: int, sets: Sequence[ChannelSet]) -> dict[str, float]:
    """Root -> share of one side of a layer that its set has; the empty root has what belongs to none."""
    uses = [(item.root, use) for item in sets for use in item.uses if use.layer == layer and use.reads == reads]
    shares = {root: len(use.indices) / count for root, use in uses}
    rest = 1 - sum(shares.values())
    return shares if shares and rest < 1e-9 else {**shares, "": rest}


def sound(
    sets: Iterable[ChannelSet], answers_alike: Callable[[Sequence[ChannelSet]], bool], round_to: int
) -> tuple[list[ChannelSet], list[str]]:
    """The sets whose removal answers as if their channels were silent, and the roots of the others.

    Args:
        sets: All sets; those too small to give channels away are in neither answer.
        answers_alike: Whether the network answers alike with channels of some sets removed and silenced.
        round_to: Sizes of sets become multiples of this.
    """
    large = [item for item in sets if item.size > round_to]
    if answers_alike(large):
        return large, []
    good = [item for item in large if answers_alike([item])]
    return good, [item.root for item in large if item not in good]


def note_kept(
    sets: Iterable[ChannelSet], chosen: Mapping[str, Sequence[int]], *, kept: dict[str, Any], read: dict[str, Any]
) -> None:
    """Remember which outputs and inputs of the original's layers are left after a removal.

    Args:
        sets: All sets before it.
        chosen: Root -> channels that go.
        kept: Layer -> outputs of the original's layer that are left, an array or tensor; brought up to date.
        read: The same for its inputs.
    """
    gone: dict[tuple[bool, str], set[int]] = {}
    for item in sets:
        for use in item.uses:
            gone.setdefault((use.reads, use.layer), set()).update(use.places(chosen.get(item.root, ())))
    for (reads, layer), places in gone.items():
        side = read if reads else kept
        side[layer] = side[layer][[place for place in range(len(side[layer])) if place not in places]]


def losing(sets: Iterable[ChannelSet], chosen: Mapping[str, Sequence[int]]) -> set[str]:
    """Layers that read less after a removal; one that reads only other channels of a set is not among them.

    Args:
        sets: All sets before it.
        chosen: Root -> channels that go.
    """
    return {use.layer for item in sets for use in item.readers if use.places(chosen.get(item.root, ()))}


def saliency(sets: Iterable[ChannelSet], effects: Mapping[str, Any]) -> dict[str, Array]:
    """How much the answers change when a channel goes: its squared effect, averaged over inputs.

    Theis et al., 2018, arXiv:1801.05787; Molchanov et al., 2019, arXiv:1906.10771. Two finer measures were worse on
    MobileNetV2, where 64 photos say too little of how 960 channels explain each other: the optimal brain surgeon in
    Kronecker factors, and this one times the variance that other channels do not explain.

    Args:
        sets: The channels.
        effects: Layer that reads channels -> change of the answers, to the first order, when one of its inputs is
            fixed at its mean, ``[inputs, channels]``.

    Returns:
        Root -> ``[channels]``.
    """
    return {item.root: _of_set(item, effects) for item in sets}


def _of_set(item: ChannelSet, effects: Mapping[str, Any]) -> Array:
    total = np.zeros((item.size, len(next(iter(effects.values())))), np.float32)
    for use in item.readers:
        np.add.at(total, list(use.roots), np.asarray(effects[use.layer]).T[list(use.indices)])
    return np.asarray(np.square(total).mean(1))
