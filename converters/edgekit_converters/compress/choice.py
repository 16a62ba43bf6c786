"""Which channels go: the ones whose removal hurts least for what it saves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Measure = Literal["macs", "parameters"]
Scores = Mapping[str, "NDArray[np.floating[Any]]"]
_LEAST = 0.1
"""Share of a set's channels that always stays: a layer with almost none left cuts the network in two."""


@dataclass(frozen=True)
class Part:
    """What a layer costs.

    Attributes:
        macs: Multiply-accumulates for one input.
        parameters: Weights.
        sides: Roots of the channel sets that it reads and makes; its cost falls with the size of each, twice with that
            of a set that it both reads and makes.
    """

    macs: int
    parameters: int
    sides: tuple[str, ...]


def choose(
    scores: Scores, parts: Mapping[str, Part], *, measure: Measure, target: float, round_to: int
) -> dict[str, list[int]]:
    """Choose channels, cheapest first, until the network costs at most ``target``.

    Args:
        scores: Root -> how much the loss grows when a channel goes, ``[channels]``.
        parts: All layers.
        measure: What is to fall.
        target: MACs or parameters that may be left.
        round_to: Sizes of sets become multiples of this, which kernels need for their speed.

    Returns:
        Root -> channels to remove. Where the target cannot be reached, all that can go.
    """
    order = {root: np.argsort(values, kind="stable") for root, values in scores.items()}
    sizes = {root: len(values) for root, values in scores.items()}
    gone = dict.fromkeys(scores, 0)
    by_set = {root: [part for part in parts.values() if root in part.sides] for root in scores}

    def cost(part: Part) -> float:
        left = prod((sizes[side] - gone[side]) / sizes[side] for side in part.sides if side in sizes)
        return left * float(getattr(part, measure))

    def rate(root: str) -> float:
        """Growth of the loss for each unit saved by the next block of channels of a set."""
        count = _block(sizes[root] - gone[root], round_to)
        if sizes[root] - gone[root] - count < max(round_to, _LEAST * sizes[root]):
            return float("inf")
        saved = sum(cost(part) * part.sides.count(root) for part in by_set[root]) * count / (sizes[root] - gone[root])
        hurt = float(scores[root][order[root][gone[root] : gone[root] + count]].sum())
        return hurt / max(saved, 1.0)

    while sum(map(cost, parts.values())) > target:
        best = min(scores, key=rate, default=None)
        if best is None or rate(best) == float("inf"):
            break
        gone[best] += _block(sizes[best] - gone[best], round_to)
    return {root: sorted(order[root][:count].tolist()) for root, count in gone.items() if count}


def _block(size: int, round_to: int) -> int:
    return size % round_to or round_to
