"""Average precision of boxes as COCO defines it, fast enough to be drawn anew for an interval.

The same numbers as pycocotools with area ``all`` and at most 100 boxes of a class in a photo (a test holds them
equal). Photos have weights instead of repetitions, so a bootstrap sorts the scores only once.
(Lin et al. 2014, arXiv:1405.0312.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.engine import Array
from edgekit.tasks.boxes import Boxes, areas, intersections

THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).tolist())
"""Overlaps of mAP50-95; the first is that of mAP50."""

_MOST_OF_A_CLASS = 100
_RECALLS = np.linspace(0.0, 1.0, 101)
_ALMOST_ONE = 1 - 1e-10


@dataclass(frozen=True, eq=False)
class Matched:
    """How the boxes of one photo compare with what is right; thresholds first.

    Attributes:
        scores: ``(count,)``.
        classes: ``(count,)``.
        right: ``(thresholds, count)`` matched with an object that nothing better had taken.
        ignored: ``(thresholds, count)`` matched with a crowd.
        objects: ``(objects,)`` classes of what is right, without crowds.
    """

    scores: Array
    classes: Array
    right: Array
    ignored: Array
    objects: Array


def match(
    found: tuple[Boxes, Array, Array], right: tuple[Boxes, Array, Array], thresholds: Sequence[float] = THRESHOLDS
) -> Matched:
    """Match found boxes with the right ones of their class, best score first.

    Args:
        found: Boxes ``(n, 4)``, scores ``(n,)`` and classes ``(n,)``.
        right: Boxes ``(m, 4)``, classes ``(m,)`` and crowd marks ``(m,)``, in the same unit.
        thresholds: Least overlaps.
    """
    boxes, scores, classes = found
    order = np.argsort(-scores, kind="stable")
    parts = [order[classes[order] == number][:_MOST_OF_A_CLASS] for number in np.unique(classes)]
    order = np.concatenate([*parts, np.zeros(0, np.int64)])
    matched = np.zeros((2, len(thresholds), len(order)), bool)
    start = 0
    for part in parts:
        here = right[1] == classes[part[0]]
        if here.any():
            matched[:, :, start : start + len(part)] = _one_class(
                boxes[part], right[0][here], right[2][here], thresholds
            )
        start += len(part)
    return Matched(scores[order], classes[order], matched[0], matched[1], right[1][~right[2]])


def _one_class(boxes: Boxes, objects: Boxes, crowd: Array, thresholds: Sequence[float]) -> Array:
    """``(2, thresholds, boxes)``: right and ignored, for boxes of one class with the best first."""
    shared = intersections(boxes, objects)
    whole = areas(boxes)[:, None]
    union = np.where(crowd[None], whole, whole + areas(objects)[None] - shared)
    overlap = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    least = np.minimum(np.array(thresholds), _ALMOST_ONE)[:, None]
    taken = np.zeros((len(thresholds), len(objects)), bool)
    matched = np.zeros((2, len(thresholds), len(boxes)), bool)
    each = np.arange(len(thresholds))
    for number, row in enumerate(overlap):
        if row.max() < least[0, 0]:
            continue
        good = (row >= least) & ~taken
        single = np.where(good & ~crowd, row, -1.0)
        best = single.shape[1] - 1 - single[:, ::-1].argmax(axis=1)  # of equal overlaps COCO takes the last
        hit = single[each, best] >= 0
        taken[each[hit], best[hit]] = True
        matched[0, hit, number] = True
        matched[1, :, number] = ~hit & ((row >= least) & crowd).any(axis=1)
    return matched


class AveragePrecision:
    """Mean average precision over photos.

    Args:
        photos: Of all photos, in order.
        thresholds: Those that the photos were matched with.
    """

    def __init__(self, photos: Sequence[Matched], thresholds: Sequence[float] = THRESHOLDS) -> None:
        self._levels = len(thresholds)
        scores = np.concatenate([photo.scores for photo in photos])
        classes = np.concatenate([photo.classes for photo in photos])
        self._known = np.unique(np.concatenate([photo.objects for photo in photos]))
        self._objects = np.stack([_counts(photo.objects, self._known) for photo in photos])
        order = np.lexsort((-scores, classes))
        order = order[np.isin(classes[order], self._known)]
        self._class = np.searchsorted(self._known, classes[order])
        self._photo = np.repeat(np.arange(len(photos)), [len(photo.scores) for photo in photos])[order]
        self._right = np.concatenate([photo.right for photo in photos], axis=1)[:, order]
        ignored = np.concatenate([photo.ignored for photo in photos], axis=1)[:, order]
        self._wrong = ~self._right & ~ignored
        bounds = np.searchsorted(self._class, np.arange(len(self._known) + 1))
        self._start, self._end = bounds[:-1], bounds[1:]

    def __call__(self, photos: Array, levels: int | None = None) -> float:
        """Return the mean over classes and thresholds; NaN without objects.

        Args:
            photos: Indices of the photos that count, with repetitions.
            levels: Only the first thresholds; all by default.
        """
        weights = np.bincount(photos, minlength=len(self._objects))
        return float(np.mean(self._each(weights, levels or self._levels))) if len(self._known) else float("nan")

    def _each(self, weights: Array, levels: int) -> Array:
        """Average precision of each threshold and each class that has objects."""
        objects = weights @ self._objects
        some = np.flatnonzero(objects)
        if not len(some):
            return np.array([np.nan])
        own = weights[self._photo]
        needed = _needed(objects[some])
        return np.stack([self._level(level, own, some, needed) for level in range(levels)])

    def _level(self, level: int, own: Array, some: Array, needed: Array) -> Array:
        right = np.cumsum(own * self._right[level])
        wrong = np.cumsum(own * self._wrong[level])
        before = [np.concatenate([[0], total])[self._start] for total in (right, wrong)]
        hits, misses = right - before[0][self._class], wrong - before[1][self._class]
        precision = hits / (hits + misses + np.spacing(1))
        # Each class is lifted above those behind it, so that the running maximum from the end stays within a class.
        lift = 2.0 * (len(self._known) - 1 - self._class)
        envelope = np.maximum.accumulate((precision + lift)[::-1])[::-1] - lift
        at = np.searchsorted(right, before[0][some, None] + needed)
        at = np.maximum(at, self._start[some, None])
        inside = at < self._end[some, None]
        values = np.where(inside, np.append(envelope, 0.0)[np.minimum(at, len(envelope))], 0.0)
        mean: Array = values.mean(axis=1)
        return mean


def _counts(classes: Array, known: Array) -> Array:
    return np.bincount(np.searchsorted(known, classes), minlength=len(known))


def _needed(objects: Array) -> Array:
    """``(classes, recalls)``: how many objects have to be found for each recall, by the same division as COCO's."""
    total = objects[:, None].astype(np.float64)
    least = np.ceil(_RECALLS * total)
    least = np.where((least - 1) / total >= _RECALLS, least - 1, least)
    return np.where(least / total < _RECALLS, least + 1, least).astype(np.int64)
