"""Inputs for an artifact of which nothing but its tensors is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgekit.engine import Array, TensorInfo


def random_feeds(inputs: Sequence[TensorInfo], seed: int = 0) -> dict[str, Array]:
    """Return an array for each input: floats in [0, 1), integers 0 or 1, dynamic dimensions 1.

    Zero and one are valid wherever integers are indices, and times of the usual operators do not depend on values.

    Args:
        inputs: Input tensors of the artifact; quantized ones get floats, as engines take them.
        seed: Of the random numbers.
    """
    generator = np.random.default_rng(seed)
    feeds: dict[str, Array] = {}
    for info in inputs:
        shape = tuple(1 if size is None else size for size in info.shape)
        dtype = np.dtype("float32" if info.scale is not None else info.dtype)
        if dtype.kind in "iub":
            feeds[info.name] = generator.integers(0, 2, shape).astype(dtype)
        else:
            feeds[info.name] = generator.random(shape).astype(dtype)
    return feeds
