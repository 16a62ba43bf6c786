"""Image resampling that gives what the training frameworks give.

Pillow (and torchvision on top of it) widens the filter when it shrinks a picture and rounds to 8 bits between
the horizontal and the vertical pass; OpenCV's own resize samples points. A model trained with one and fed by the
other answers differently on some photos. `resize` does both, each exactly: the antialiased kind as separable
banded matrix products with Pillow's 22-bit fixed-point coefficients, the point-sampled kind through OpenCV.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from edgekit.engine import Array
from edgekit.spec import Interpolation

_COEFFICIENT_BITS = 22
_BAND = 16  # output pixels a matrix product: wide enough for BLAS, narrow enough to skip most zeros
_STRIPE = 256  # input rows at a time, which bounds memory on very large photos


def _triangle(x: float) -> float:
    return max(0.0, 1.0 - abs(x))


def _cubic(x: float) -> float:
    """Keys' kernel with a = -0.5, as Pillow uses it."""
    x = abs(x)
    if x < 1:
        return (1.5 * x - 2.5) * x * x + 1
    return ((-0.5 * x + 2.5) * x - 4) * x + 2 if x < 2 else 0.0


def _lanczos(x: float) -> float:
    """Lanczos window of three lobes."""
    return _sinc(x) * _sinc(x / 3) if -3 <= x < 3 else 0.0


def _sinc(x: float) -> float:
    return 1.0 if x == 0 else math.sin(math.pi * x) / (math.pi * x)


def _box(x: float) -> float:
    return 1.0 if -0.5 < x <= 0.5 else 0.0


_FILTERS: dict[str, tuple[Callable[[float], float], float]] = {
    "bilinear": (_triangle, 1.0),
    "bicubic": (_cubic, 2.0),
    "lanczos": (_lanczos, 3.0),
    "area": (_box, 0.5),
}


def resize(image: Array, size: tuple[int, int], interpolation: Interpolation, *, antialias: bool) -> Array:
    """Resize a picture.

    Args:
        image: ``(height, width, channels)`` uint8.
        size: Height and width wanted, in pixels.
        interpolation: Filter.
        antialias: ``True`` gives Pillow's ``Image.resize``; ``False`` gives what ``tf.image.resize`` and OpenCV
            give (half-pixel centres, no widening of the filter).

    Returns:
        ``(*size, channels)`` uint8.
    """
    if image.shape[:2] == size:
        return image
    if interpolation == "nearest":
        return _nearest(image, size)
    if not antialias:
        return _opencv(image, size, interpolation)
    height, width = size
    if image.shape[1] != width:
        image = _horizontal(image, width, interpolation)
    if image.shape[0] != height:
        image = _horizontal(image.transpose(1, 0, 2), height, interpolation).transpose(1, 0, 2)
    return np.ascontiguousarray(image)


def _nearest(image: Array, size: tuple[int, int]) -> Array:
    rows, columns = (_nearest_index(have, want) for want, have in zip(size, image.shape[:2], strict=True))
    picked: Array = image[rows[:, None], columns[None, :]]
    return picked


def _nearest_index(have: int, want: int) -> Array:
    """Input pixel of each output pixel; summed step by step, as Pillow does, so that ties fall the same way."""
    steps = np.full(want, have / want)
    steps[0] /= 2
    index: Array = np.minimum(np.cumsum(steps).astype(np.intp), have - 1)
    return index


def _opencv(image: Array, size: tuple[int, int], interpolation: Interpolation) -> Array:
    import cv2

    code = {
        "bilinear": cv2.INTER_LINEAR,
        "bicubic": cv2.INTER_CUBIC,
        "lanczos": cv2.INTER_LANCZOS4,
        "area": cv2.INTER_AREA,
    }[interpolation]
    result: Array = cv2.resize(image, (size[1], size[0]), interpolation=code)
    return result.reshape(*size, image.shape[2])


def _horizontal(image: Array, width: int, interpolation: str) -> Array:
    """Resample the second axis; 8 bits in, 8 bits out, as Pillow's passes are."""
    first, bands = _bands(image.shape[1], width, interpolation)
    result = np.empty((image.shape[0], width, image.shape[2]), np.uint8)
    for top in range(0, image.shape[0], _STRIPE):
        planes = image[top : top + _STRIPE].transpose(2, 0, 1).astype(np.float32)
        for index, weights in enumerate(bands):
            start = first[index]
            values = planes[:, :, start : start + len(weights)] @ weights
            np.clip(np.floor(values + np.float32(0.5)), 0, 255, out=values)
            left = index * _BAND
            result[top : top + _STRIPE, left : left + _BAND] = values.transpose(1, 2, 0)
    return result


@lru_cache(maxsize=32)
def _bands(have: int, want: int, interpolation: str) -> tuple[tuple[int, ...], tuple[Array, ...]]:
    """Weights of the resampling as a band matrix, cut into blocks of ``_BAND`` outputs.

    Returns:
        First input index of each block, and for each block the ``(inputs, outputs)`` float32 weights.
    """
    taps = [_taps(index, have, want, interpolation) for index in range(want)]
    starts, blocks = [], []
    for left in range(0, want, _BAND):
        group = taps[left : left + _BAND]
        start = min(first for first, _ in group)
        stop = max(first + len(weights) for first, weights in group)
        block = np.zeros((stop - start, len(group)), np.float32)
        for column, (first, weights) in enumerate(group):
            block[first - start : first - start + len(weights), column] = weights
        starts.append(start)
        blocks.append(block)
    return tuple(starts), tuple(blocks)


def _taps(index: int, have: int, want: int, interpolation: str) -> tuple[int, Array]:
    """First input pixel and the weights of one output pixel, rounded to Pillow's fixed point."""
    kernel, support = _FILTERS[interpolation]
    scale = have / want
    stretch = max(scale, 1.0)
    centre = (index + 0.5) * scale
    first = max(0, int(centre - support * stretch + 0.5))
    last = min(have, int(centre + support * stretch + 0.5))
    weights = np.array([kernel((i - centre + 0.5) / stretch) for i in range(first, last)])
    weights /= weights.sum()
    return first, np.rint(weights * (1 << _COEFFICIENT_BITS)) / (1 << _COEFFICIENT_BITS)
