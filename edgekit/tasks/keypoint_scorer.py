"""How well keypoints are found: object keypoint similarity (OKS, as COCO defines it) or PCK."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edgekit.engine import Array
from edgekit.errors import DataRefused
from edgekit.metrics import Metric, bootstrapped
from edgekit.tasks.base import ResultScorer, Task

if TYPE_CHECKING:
    from edgekit.tasks.keypoints import Pose, Poses

KeypointMetric = Literal["oks", "pck"]

COCO_SIGMAS = (
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089,
    0.089,
)  # fmt: skip
"""Spread of COCO's 17 points between people who mark them, as shares of the person's size."""

_EQUAL_SIGMA = 0.05
_EXPECTED = '{"points": [[x, y, visibility], …], "area": …} in photo pixels'


@dataclass(frozen=True, eq=False)
class KeypointTruth:
    """Where the points of one person are.

    Attributes:
        points: ``(points, 2)`` photo pixels.
        known: ``(points,)`` whether a point was marked.
        area: Of the person, square pixels.
        side: Longer side of the person's box, pixels.
        where: For messages.
    """

    points: Array
    known: Array
    area: float
    side: float
    where: str = "the truth"

    @classmethod
    def of(cls, raw: Any, where: str) -> KeypointTruth:
        """Read a mapping as `edgekit.tasks.keypoints.Keypoints.truth` describes it."""
        if not isinstance(raw, Mapping) or not ("points" in raw or "keypoints" in raw):
            raise DataRefused(f"{where}: {str(raw)[:80]}", expected=_EXPECTED)
        try:
            given = raw["points"] if "points" in raw else np.reshape(raw["keypoints"], (-1, 3)).tolist()
            rows = [(*point, 2.0)[:3] for point in given]
            marks = np.array(rows, np.float64).reshape(len(rows), 3)
            box = None if raw.get("bbox") is None else np.array(raw["bbox"], np.float64).reshape(4)
            area = None if raw.get("area") is None else float(raw["area"])
        except (TypeError, ValueError) as error:
            raise DataRefused(f"{where}: {str(raw)[:80]}", expected=_EXPECTED) from error
        if not len(marks) or not np.isfinite(marks).all():
            raise DataRefused(f"{where}: {str(raw)[:80]}", expected=_EXPECTED)
        known = marks[:, 2] > 0
        extent = np.ptp(marks[known, :2], axis=0) if known.any() else np.zeros(2)
        size = extent if box is None else box[2:]
        return cls(marks[:, :2], known, float(area or size.prod()), float(size.max()), where)

    @classmethod
    def as_found(cls, pose: Pose) -> KeypointTruth:
        """Take what the original found for the truth."""
        points = np.array([(point.x, point.y) for point in pose.points])
        extent = np.ptp(points, axis=0)
        return cls(points, np.ones(len(points), bool), float(extent.prod()), float(extent.max()))


class KeypointScorer(ResultScorer):
    """OKS or PCK of each person against the best that was found, nobody twice; a person who is missed counts 0.

    Args:
        task: Decodes.
        metric: ``oks`` or ``pck``.
        sigmas: Of OKS; ``None`` as `sigmas_for` says.
        pck_share: Of the longer side of a person's box.
    """

    def __init__(
        self, task: Task, metric: KeypointMetric, sigmas: tuple[float, ...] | None = None, pck_share: float = 0.2
    ) -> None:
        super().__init__(task)
        self._metric = metric
        self._sigmas = sigmas
        self._share = pck_share
        self._alike: list[tuple[float, int]] = []
        self._scores: list[tuple[tuple[float, int], tuple[float, int]]] = []

    def add(self, want: Poses, got: Poses, truth: tuple[KeypointTruth, ...] | None) -> None:
        """Compare two results, and both with the truth."""
        self._alike.append(self._matched(got, [KeypointTruth.as_found(pose) for pose in want.found]))
        if truth is not None:
            self._scores.append((self._matched(want, truth), self._matched(got, truth)))

    def missing(self, want: Poses, truth: tuple[KeypointTruth, ...] | None) -> None:
        """Count as nobody found."""
        self.add(want, type(want)(want.height, want.width, ()), truth)

    def agreement(self) -> Metric | None:
        """Of the artifact's people, with the original's for the truth."""
        return self._mean(self._alike) if self._alike else None

    def metrics(self) -> tuple[Metric, Metric] | None:
        """Of the original and of the artifact; ``None`` without truth."""
        if not self._scores:
            return None
        return self._mean([pair[0] for pair in self._scores]), self._mean([pair[1] for pair in self._scores])

    def _matched(self, found: Poses, people: Sequence[KeypointTruth]) -> tuple[float, int]:
        """Sum of scores, and how many people there are."""
        places = [np.array([(point.x, point.y) for point in pose.points]) for pose in found.found]
        marked = [one for one in people if one.known.any()]
        table = np.array([[self._score(at, one) for at in places] for one in marked]).reshape(len(marked), len(places))
        total = 0.0
        for _ in range(min(table.shape)):
            row, column = np.unravel_index(table.argmax(), table.shape)
            total += float(table[row, column])
            table = np.delete(np.delete(table, row, axis=0), column, axis=1)
        return total, len(marked)

    def _score(self, places: Array, person: KeypointTruth) -> float:
        if places.shape != person.points.shape:
            raise DataRefused(
                f"{person.where}: {len(person.points)} points", expected=f"the model's {len(places)}, in its order"
            )
        if self._metric == "oks":
            return oks(places, person, self._sigmas or sigmas_for(len(places)))
        far = np.linalg.norm(places - person.points, axis=1)[person.known]
        return float((far <= self._share * person.side).mean())

    def _mean(self, pairs: list[tuple[float, int]]) -> Metric:
        values = np.array(pairs, np.float64)

        def mean(photos: Array) -> float:
            total, people = values[photos].sum(axis=0)
            return float(total / people) if people else 1.0

        name = "OKS" if self._metric == "oks" else f"PCK@{self._share:g}"
        return bootstrapped(name, len(values), mean)


def sigmas_for(points: int) -> tuple[float, ...]:
    """COCO's sigmas for 17 points, equal ones otherwise."""
    return COCO_SIGMAS if points == len(COCO_SIGMAS) else (_EQUAL_SIGMA,) * points


def oks(places: Array, person: KeypointTruth, sigmas: Sequence[float]) -> float:
    """Object keypoint similarity, 0..1: ``mean(exp(-d^2 / (2 * area * (2 * sigma)^2)))`` over the marked points."""
    if len(sigmas) != len(places):
        raise DataRefused(f"{len(sigmas)} sigmas for {len(places)} points", expected="one for each point")
    squares = ((places - person.points) ** 2).sum(axis=1)
    spread = (2 * np.array(sigmas)) ** 2
    exponent = squares / spread / (person.area + np.spacing(1)) / 2
    return float(np.exp(-exponent)[person.known].mean())
