"""Parity of detectors: which boxes both find, and mean average precision where the truth is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgekit.engine import Array
from edgekit.metrics import Estimate, Metric, Proportion, bootstrapped
from edgekit.tasks.average_precision import AveragePrecision, Matched, match
from edgekit.tasks.base import ResultScorer
from edgekit.tasks.boxes import Boxes
from edgekit.tasks.detection_truth import Objects

if TYPE_CHECKING:
    from edgekit.tasks.object_detection import Detections, ObjectDetection

OVERLAP = 0.5
"""Least intersection over union of boxes that count as the same."""

EVALUATION_SCORE = 0.001
"""Boxes above it count for average precision, as usual; those that are reported have a higher threshold."""


class DetectionScorer(ResultScorer):
    """Shares of matched boxes, and average precision.

    Args:
        task: Reports boxes; average precision takes those below its threshold too.
    """

    def __init__(self, task: ObjectDetection) -> None:
        super().__init__(task.with_score(min(task.options.score, EVALUATION_SCORE)))
        self._shown = task.options.score
        self._all = task.options.metric == "mAP50-95"
        self._same = self._boxes = 0
        self._original: list[Matched] = []
        self._artifact: list[Matched] = []

    def add(self, want: Detections, got: Detections, truth: Objects | None) -> None:
        """Take the boxes of one photo."""
        theirs, ours = (_arrays(side, self._shown) for side in (want, got))
        crowd = np.zeros(len(theirs[0]), bool)
        self._same += int(match(ours, (theirs[0], theirs[2], crowd), (OVERLAP,)).right.sum())
        self._boxes += len(theirs[0]) + len(ours[0])
        if truth is not None:
            self._judge(want, got, truth)

    def missing(self, want: Detections, truth: Objects | None) -> None:
        """Take note that the artifact has no result: all boxes are missing."""
        self._boxes += len(_arrays(want, self._shown)[0])
        if truth is not None:
            self._judge(want, None, truth)

    def _judge(self, want: Detections, got: Detections | None, truth: Objects) -> None:
        boxes = truth.boxes * np.array([want.width, want.height] * 2)
        right = (boxes, truth.classes, truth.crowd)
        self._original.append(match(_arrays(want, 0.0), right))
        nothing = (np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))
        self._artifact.append(match(nothing if got is None else _arrays(got, 0.0), right))

    def agreement(self) -> Metric | None:
        """Boxes of both sides that have a partner of their class on the other one; ``None`` where none was found."""
        return Proportion(2 * self._same, self._boxes, "matched boxes") if self._boxes else None

    def metrics(self) -> tuple[Metric, Metric] | None:
        """Mean average precision over the photos whose truth is known."""
        if not sum(len(photo.objects) for photo in self._original):
            return None
        return self._estimate(self._original), self._estimate(self._artifact)

    def _estimate(self, photos: list[Matched]) -> Estimate:
        precision, levels = AveragePrecision(photos), None if self._all else 1
        name = "mAP50-95" if self._all else "mAP50"
        return bootstrapped(name, len(photos), lambda draw: precision(draw, levels))


def _arrays(found: Detections, above: float) -> tuple[Boxes, Array, Array]:
    """Boxes, scores and classes above a score."""
    kept = [one for one in found.objects if one.score > above]
    boxes = np.array([one.box for one in kept], np.float64).reshape(-1, 4)
    return boxes, np.array([one.score for one in kept]), np.array([one.index for one in kept], np.int64)
