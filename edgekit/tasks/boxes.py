"""Boxes: overlap, non-maximum suppression, and the way back from the input tensor into the photo."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgekit.engine import Array
from edgekit.preprocess import placement
from edgekit.spec import Preprocess, TensorSpec

Boxes = NDArray[np.float64]
"""``(count, 4)`` left, top, right, bottom."""

MAX_CANDIDATES = 5000
"""Boxes that non-maximum suppression looks at, the best first, so that its time is bounded."""


def from_centres(boxes: Array) -> Boxes:
    """Turn ``(count, 4)`` centre x, centre y, width, height into corners."""
    centres, halves = boxes[:, :2].astype(np.float64), boxes[:, 2:4].astype(np.float64) / 2
    return np.concatenate([centres - halves, centres + halves], axis=1)


def areas(boxes: Boxes) -> Array:
    """Areas ``(count,)``; 0 for boxes whose corners are the wrong way round."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    product: Array = sides[:, 0] * sides[:, 1]
    return product


def intersections(one: Boxes, other: Boxes) -> Array:
    """Area that each box of one shares with each of the other.

    Returns:
        ``(len(one), len(other))``.
    """
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    sides = np.maximum(high - low, 0)
    shared: Array = sides[..., 0] * sides[..., 1]
    return shared


def iou(one: Boxes, other: Boxes) -> Array:
    """Intersection over union of each box of one with each of the other; 0 where both have no area.

    Returns:
        ``(len(one), len(other))``, 0..1.
    """
    shared = intersections(one, other)
    union = areas(one)[:, None] + areas(other)[None] - shared
    overlap: Array = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return overlap


def suppress(boxes: Boxes, scores: Array, classes: Array | None, *, overlap: float, limit: int) -> Array:
    """Greedy non-maximum suppression: of boxes that overlap by more than allowed, the best one stays.

    Every box that is kept costs one pass over those behind it, so the time is bounded by ``limit`` passes over
    `MAX_CANDIDATES` boxes, whatever the model says.

    Args:
        boxes: ``(count, 4)``.
        scores: ``(count,)``.
        classes: ``(count,)``: only boxes of one class suppress each other; ``None`` for all of them.
        overlap: Largest intersection over union that two kept boxes may have.
        limit: Most boxes kept.

    Returns:
        Indices of the kept boxes, best first; of equal scores the first comes first.
    """
    order = np.argsort(-scores, kind="stable")[:MAX_CANDIDATES]
    left, top, right, bottom = np.ascontiguousarray(boxes[order].T)
    area = areas(boxes[order])
    known = None if classes is None else classes[order]
    alive = np.ones(len(order), bool)
    kept: list[int] = []
    position = 0
    while position < len(order) and len(kept) < limit:
        kept.append(position)
        rest = slice(position + 1, None)
        wide = np.minimum(right[rest], right[position]) - np.maximum(left[rest], left[position])
        high = np.minimum(bottom[rest], bottom[position]) - np.maximum(top[rest], top[position])
        shared = np.maximum(wide, 0) * np.maximum(high, 0)
        goes = shared > overlap * (area[rest] + area[position] - shared)
        if known is not None:
            goes &= known[rest] == known[position]
        alive[rest] &= ~goes
        ahead = alive[rest].argmax() if position + 1 < len(order) else 0
        position += 1 + int(ahead)
        if position < len(order) and not alive[position]:
            break
    chosen: Array = order[np.array(kept, np.int64)]
    return chosen


def into_photo(boxes: Boxes, photo: tuple[int, int], tensor: TensorSpec, how: Preprocess) -> Boxes:
    """Undo resizing, cropping and letterbox, and cut what lies outside of the photo.

    Args:
        boxes: ``(count, 4)`` in pixels of the input tensor.
        photo: Height and width of the photo, in pixels.
        tensor: The input.
        how: The spec's preprocessing.

    Returns:
        ``(count, 4)`` in pixels of the photo.
    """
    lies = placement(photo, tensor, how)
    (down, across), (y, x) = lies.scale, lies.offset
    back = (boxes - np.array([x, y, x, y])) / np.array([across, down, across, down])
    clipped: Boxes = np.clip(back, 0, np.array([photo[1], photo[0]] * 2))
    return clipped


def into_input(boxes: Boxes, photo: tuple[int, int], tensor: TensorSpec, how: Preprocess) -> Boxes:
    """The way of `into_photo` forward: pixels of the photo to pixels of the input tensor."""
    lies = placement(photo, tensor, how)
    (down, across), (y, x) = lies.scale, lies.offset
    there: Boxes = boxes * np.array([across, down, across, down]) + np.array([x, y, x, y])
    return there
