"""How well instances are found: mask IoU between two models, mask mAP50 against the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgekit.engine import Array
from edgekit.errors import DataRefused
from edgekit.metrics import Metric, bootstrapped
from edgekit.tasks import rle
from edgekit.tasks.base import ResultScorer, Task

if TYPE_CHECKING:
    from edgekit.tasks.instance_segmentation import Instance, Instances

_IOU = 0.5
_RECALLS = np.linspace(0, 1, 101)
_RESAMPLES = 200


@dataclass(frozen=True)
class InstanceTruth:
    """One thing that is in a photo.

    Attributes:
        index: Class number.
        segmentation: COCO's run-length encoding, or polygons in photo pixels.
        crowd: Whether it stands for many things; what is found in it counts neither as right nor as wrong.
        where: For messages.
    """

    index: int
    segmentation: Any
    crowd: bool
    where: str

    def mask(self, height: int, width: int) -> NDArray[np.bool_]:
        """Return the ``(height, width)`` mask. Raises DataRefused when it has another size."""
        if isinstance(self.segmentation, Mapping):
            found = rle.decode(self.segmentation, self.where)
        else:
            from pycocotools import mask as coco

            found = rle.decode(coco.merge(coco.frPyObjects(self.segmentation, height, width)), self.where)
        if found.shape != (height, width):
            raise DataRefused(
                f"{self.where}: a mask of {found.shape[1]} x {found.shape[0]}",
                expected=f"the photo's {width} x {height}",
            )
        return found


@dataclass(frozen=True)
class _Found:
    """Of one photo: score, class and whether it is right of each thing found, and classes of those that are there."""

    scores: Array
    classes: Array
    right: Array
    there: Array


class InstanceScorer(ResultScorer):
    """Agreement and mask mAP50.

    Agreement is the sum of the IoU of matched masks over the mean number of things found by the two models, where
    masks match that are of one class and have an IoU above 0.5 (as panoptic quality, Kirillov et al. 2019, counts).
    mAP50 is COCO's average precision at an IoU of 0.5, over classes that occur in the truth.
    """

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self._alike: list[tuple[float, float]] = []
        self._original: list[_Found] = []
        self._artifact: list[_Found] = []

    def add(self, want: Instances, got: Instances, truth: tuple[InstanceTruth, ...] | None) -> None:
        """Compare two results, and both with the truth."""
        self._alike.append((_matched_iou(want.found, got.found), (len(want.found) + len(got.found)) / 2))
        if truth is not None:
            self._original.append(_judged(want, truth))
            self._artifact.append(_judged(got, truth))

    def missing(self, want: Instances, truth: tuple[InstanceTruth, ...] | None) -> None:
        """Count as nothing found."""
        self.add(want, type(want)(want.height, want.width, ()), truth)

    def agreement(self) -> Metric | None:
        """Mask IoU of what both find."""
        if not self._alike:
            return None
        alike = np.array(self._alike, np.float64)

        def mean(photos: Array) -> float:
            iou, things = alike[photos].sum(axis=0)
            return float(iou / things) if things else 1.0

        return bootstrapped("mask IoU", len(alike), mean)

    def metrics(self) -> tuple[Metric, Metric] | None:
        """Mask mAP50 of the original and of the artifact; ``None`` without truth."""
        if not self._original:
            return None
        return _map50(self._original), _map50(self._artifact)


def mask_iou(one: Instance, other: Instance) -> float:
    """Intersection over union of two masks."""
    left, top = (max(a, b) for a, b in zip(one.corner, other.corner, strict=True))
    right = min(item.corner[0] + item.mask.shape[1] for item in (one, other))
    bottom = min(item.corner[1] + item.mask.shape[0] for item in (one, other))
    if right <= left or bottom <= top:
        return 0.0
    parts = [
        item.mask[top - item.corner[1] : bottom - item.corner[1], left - item.corner[0] : right - item.corner[0]]
        for item in (one, other)
    ]
    both = int((parts[0] & parts[1]).sum())
    return both / (int(one.mask.sum()) + int(other.mask.sum()) - both)


def _matched_iou(want: tuple[Instance, ...], got: tuple[Instance, ...]) -> float:
    """Sum over matched pairs; above 0.5 at most one partner is possible for masks that do not overlap."""
    left, total = list(got), 0.0
    for one in want:
        rated = [(mask_iou(one, other), at) for at, other in enumerate(left) if other.index == one.index]
        best, at = max(rated, default=(0.0, -1))
        if best > _IOU:
            total += best
            del left[at]
    return total


def _judged(result: Instances, truth: tuple[InstanceTruth, ...]) -> _Found:
    """Match as COCO does: the most certain first, each to the best that is left."""
    masks = [one.mask(result.height, result.width) for one in truth]
    taken = [False] * len(truth)
    kept = []
    for found in result.found:
        left, top = found.corner
        part = (slice(top, top + found.mask.shape[0]), slice(left, left + found.mask.shape[1]))
        area, best, at = int(found.mask.sum()), _IOU, -1
        in_crowd = False
        for number, (one, mask) in enumerate(zip(truth, masks, strict=True)):
            if one.index != found.index or taken[number]:
                continue
            both = int((mask[part] & found.mask).sum())
            if one.crowd:
                in_crowd |= both >= _IOU * area
            elif both / (area + int(mask.sum()) - both) >= best:
                best, at = both / (area + int(mask.sum()) - both), number
        if at >= 0:
            taken[at] = True
        if at >= 0 or not in_crowd:
            kept.append((found.score, found.index, at >= 0))
    scores, classes, right = (np.array([row[column] for row in kept]) for column in range(3))
    return _Found(scores, classes, right, np.array([one.index for one in truth if not one.crowd], np.intp))


def _map50(photos: list[_Found]) -> Metric:
    def mean(chosen: Array) -> float:
        there = np.concatenate([photos[i].there for i in chosen])
        scores, classes, right = (
            np.concatenate([getattr(photos[i], name) for i in chosen]) for name in ("scores", "classes", "right")
        )
        order = np.argsort(-scores, kind="mergesort")
        values = [
            _average_precision(right[order][classes[order] == index].astype(bool), int((there == index).sum()))
            for index in np.unique(there)
        ]
        return float(np.mean(values)) if values else float("nan")

    return bootstrapped("mask mAP50", len(photos), mean, resamples=_RESAMPLES)


def _average_precision(right: Array, there: int) -> float:
    """COCO's 101-point interpolated average precision of answers sorted by score."""
    if not len(right):
        return 0.0
    true, false = np.cumsum(right), np.cumsum(~right)
    precision = np.maximum.accumulate((true / (true + false))[::-1])[::-1]
    at = np.searchsorted(true / there, _RECALLS, side="left")
    return float(np.where(at < len(precision), precision[np.minimum(at, len(precision) - 1)], 0.0).mean())
