"""How much is done to make an integer artifact better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edgekit.errors import UsageError

Effort = Literal["low", "normal"]


@dataclass(frozen=True)
class Parts:
    """What is done; each can be left out to see what it contributes.

    Attributes:
        equalize: Bring the channels of an activation closer together before they share a scale.
        smooth: In transformers, let weights take over what a few channels have too much.
        search: Choose ranges by the error of the model's answers.
        settle: Take the ranges of activations from a model whose earlier activations are rounded already.
        search_parts: Parts of the network that get a range rule of their own.
        spread: Spread each weight's rounding error over the weights not yet rounded.
        correct: Let biases take up what rounding moves the mean of a channel by.
    """

    equalize: bool = True
    smooth: bool = True
    search: bool = True
    settle: bool = True
    search_parts: int = 8
    spread: bool = True
    correct: bool = True


EFFORTS: Mapping[Effort, Parts] = {"low": Parts(settle=False, search_parts=1, spread=False), "normal": Parts()}


def parts_of(effort: Effort) -> Parts:
    """What is done at an effort. Raises UsageError for an unknown one."""
    if effort not in EFFORTS:
        raise UsageError(f"effort {effort!r}", expected=", ".join(EFFORTS))
    return EFFORTS[effort]
