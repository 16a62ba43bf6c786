"""Made-up inputs, for parity of float artifacts when the user gave no data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from edgekit.engine import Array
from edgekit.preprocess import encode_image
from edgekit.spec import Spec, TensorSpec
from edgekit.table import TableEncoding, feeds_of

SAMPLES = 8
_DYNAMIC = 16  # length taken for a dynamic dimension other than the batch


def synthetic_feeds(spec: Spec, count: int = SAMPLES, seed: int = 0) -> Iterator[dict[str, Array]]:
    """Yield random inputs that look like the real ones: smooth pictures, token numbers, rows, normal noise.

    Args:
        spec: Complete spec.
        count: Samples.
        seed: Same seed, same samples.
    """
    random = np.random.default_rng(seed)
    for _ in range(count):
        if spec.table is not None:
            yield feeds_of(spec.table, _row(spec.table, random), spec.inputs)
            continue
        yield {tensor.name: _values(tensor, spec, random) for tensor in spec.inputs}


def _row(table: TableEncoding, random: np.random.Generator) -> dict[str, float | str]:
    """A row as training may have had it: numbers about the mean, any of the known texts."""
    return {
        column.name: str(random.choice(column.vocabulary))
        if column.vocabulary
        else column.scaling[0] + column.scaling[1] * float(random.standard_normal())
        for column in table.columns
    }


def _values(tensor: TensorSpec, spec: Spec, random: np.random.Generator) -> Array:
    shape = (1, *(_DYNAMIC if size is None else size for size in tensor.shape[1:]))
    if spec.preprocess is not None and tensor.layout is not None:
        # Coarse noise enlarged: neighbouring pixels resemble each other, as in a photo.
        picture = random.integers(0, 256, (12, 12, 3), dtype=np.uint8).repeat(16, axis=0).repeat(16, axis=1)
        stretched = replace(spec.preprocess, resize="stretch", size=None, crop=False)
        return encode_image(picture, tensor, stretched)
    if tensor.dtype == "bool":
        return np.ones(shape, bool)
    if np.issubdtype(np.dtype(tensor.dtype), np.integer):
        if "mask" in tensor.name:
            return np.ones(shape, tensor.dtype)
        return random.integers(0, 2 if "type" in tensor.name else 100, shape).astype(tensor.dtype)
    return random.standard_normal(shape).astype(tensor.dtype)
