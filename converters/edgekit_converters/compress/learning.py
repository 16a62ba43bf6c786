"""How a pruned network learns from its original: what is the same for every framework."""

from __future__ import annotations

import math

STATISTICS_SAMPLES = 128
"""Samples that importance is measured on and that layers are refitted on."""
STATISTICS_BATCH = 8
"""Of them at a time: backwards through 32 photos of 224 x 224 needs gigabytes."""
CLIP = 1.0
"""Largest norm of a step's gradient."""
FEATURES, ANSWERS, CLASSES = 0.5, 1.0, 1.0
"""Weights of the distances: of layers in between, of the answers, of the class probabilities."""
_WARM_UP = 0.05


def schedule(progress: float) -> float:
    """Share of the largest learning rate: rise over the first steps, then fall as half a cosine."""
    if progress < _WARM_UP:
        return progress / _WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (progress - _WARM_UP) / (1 - _WARM_UP)))
