"""Choosing the next token: greedy, or drawn by temperature, top-k and top-p, with a penalty for repetition.

The order and the formulas are those of ``transformers``: repetition penalty (Keskar et al. 2019, arXiv:1909.05858),
temperature, top-k (Fan et al. 2018, arXiv:1805.04833), top-p (Holtzman et al. 2020, arXiv:1904.09751).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from edgekit.engine import Array
from edgekit.errors import SpecRefused


@dataclass(frozen=True)
class Sampling:
    """How a token is chosen.

    Attributes:
        temperature: 0 takes the most probable token; otherwise logits are divided by it and a token is drawn.
        top_k: Draw among the most probable so many; 0 among all.
        top_p: Draw among the most probable tokens that together have this probability.
        repetition_penalty: Divides positive logits, and multiplies negative ones, of tokens that were there before;
            1 for none.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        rules = {
            "temperature": (self.temperature, 0 <= self.temperature < np.inf, "0 (greedy) or more"),
            "top_k": (self.top_k, isinstance(self.top_k, int) and self.top_k >= 0, "a whole number, 0 for all"),
            "top_p": (self.top_p, 0 < self.top_p <= 1, "above 0, at most 1"),
            "repetition_penalty": (self.repetition_penalty, 0 < self.repetition_penalty < np.inf, "above 0"),
        }
        for name, (value, good, expected) in rules.items():
            if not good:
                raise SpecRefused(f"{name} = {value!r}", expected=expected)


def next_token(logits: Array, seen: Collection[int], how: Sampling, random: np.random.Generator) -> int:
    """Choose a token.

    Args:
        logits: ``(vocabulary,)``.
        seen: Tokens of the prompt and those generated so far.
        how: The choice.
        random: Drawn from once, and only where the choice is not greedy.
    """
    scores = processed(logits, seen, how)
    if how.temperature == 0:
        return int(scores.argmax())
    shares = np.exp(scores.astype(np.float64) - scores.max())
    reached = np.cumsum(shares)
    drawn = int(np.searchsorted(reached, random.random() * reached[-1], side="right"))
    return min(drawn, int(np.flatnonzero(shares)[-1]))


def processed(logits: Array, seen: Collection[int], how: Sampling) -> Array:
    """Logits after penalty, temperature, top-k and top-p; what may not be drawn is ``-inf``.

    Args:
        logits: ``(vocabulary,)``.
        seen: As for `next_token`.
        how: As for `next_token`; without a temperature the penalty alone is applied.

    Returns:
        ``(vocabulary,)`` float32, a copy.
    """
    scores = np.array(logits, np.float32)
    if how.repetition_penalty != 1 and seen:
        at = np.fromiter(set(seen), np.int64)
        penalty = np.float32(how.repetition_penalty)
        scores[at] = np.where(scores[at] < 0, scores[at] * penalty, scores[at] / penalty)
    if how.temperature == 0:
        return scores
    scores /= np.float32(how.temperature)
    if 0 < how.top_k < len(scores):
        least = np.partition(scores, -how.top_k)[-how.top_k]
        scores[scores < least] = -np.inf
    if how.top_p < 1:
        scores[_improbable(scores, how.top_p)] = -np.inf
    return scores


def _improbable(scores: Array, top_p: float) -> Array:
    """Tokens beyond the most probable ones that together have a probability of ``top_p``."""
    order = np.argsort(scores, kind="stable")
    shares = np.exp(scores[order].astype(np.float64) - scores[order[-1]])
    below = np.cumsum(shares / shares.sum()) <= 1 - top_p
    below[-1] = False  # the most probable token stays
    found: Array = order[below]
    return found
