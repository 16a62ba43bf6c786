"""Keypoints: a photo in, the joints of people (or the marks of other things) out, in photo pixels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from edgekit.drawing import Picture, color_of, draw_box, draw_points
from edgekit.engine import Array
from edgekit.errors import DataRefused, SpecRefused
from edgekit.spec import Spec
from edgekit.tasks.heatmaps import Refine, peaks
from edgekit.tasks.instance_segmentation import suppressed
from edgekit.tasks.keypoint_scorer import KeypointMetric, KeypointScorer, KeypointTruth
from edgekit.tasks.picture import PictureTask
from edgekit.tasks.planes import PhotoGrid, planes_last, without_nan
from edgekit.tasks.semantic_segmentation import named_output

Form = Literal["heatmaps", "points", "yolo-pose"]
Order = Literal["xy", "yx"]
Units = Literal["shares", "pixels"]
Cells = Literal["index", "centre"]

COCO_POINTS = (
    "nose", "left eye", "right eye", "left ear", "right ear", "left shoulder", "right shoulder", "left elbow",
    "right elbow", "left wrist", "right wrist", "left hip", "right hip", "left knee", "right knee", "left ankle",
    "right ankle",
)  # fmt: skip
COCO_EDGES = (
    (0, 1), (0, 2), (1, 3), (2, 4), (5, 6), (5, 7), (7, 9), (6, 8), (8, 10), (5, 11), (6, 12), (11, 12), (11, 13),
    (13, 15), (12, 14), (14, 16),
)  # fmt: skip


@dataclass(frozen=True)
class KeypointOptions:
    """Options of keypoints.

    Attributes:
        form: ``heatmaps``: ``(batch, points, rows, columns)`` or points last, one person a photo. ``points``: numbers
            themselves, ``(batch, …, points, columns)`` as MoveNet has them, or flat with ``columns`` given.
            ``yolo-pose``: ``(batch, 5 + 3 * points, candidates)`` or with the last two axes swapped.
        output: Name of the output; ``None`` is the first.
        refine: For heat maps: ``quarter`` moves the peak a quarter of a cell to the higher neighbour (Newell et al.
            2016), ``dark`` by the maximum of a second-order fit (Zhang et al. 2020), ``soft-argmax`` takes the mean of
            the softmax, ``none`` the peak.
        cells: For heat maps: ``index``: cell ``k`` stands for ``k`` times the stride, as HRNet, SimpleBaseline and
            their kin are trained; ``centre``: for the centre of its pixels, half a cell further.
        points_axis: For heat maps: ``first`` or ``last``; ``None`` finds out by the number of labels, or
            by the input's proportions.
        order: For ``points``: which of x and y comes first.
        units: For ``points``: ``shares`` of the input's width and height, or ``pixels`` of the input.
        columns: For ``points``: numbers a point; the third is its score. ``None`` is the size of the last axis.
        threshold: Least score of a point that is drawn and of a person that is kept.
        iou: For ``yolo-pose``: overlap from which on the lesser of two people is dropped.
        limit: Most people in a photo.
        edges: Pairs of points that a line connects; ``None`` is COCO's skeleton for 17 points, none for others.
        sigmas: Spread of each point for OKS; ``None`` is COCO's for 17 points, 0.05 for others.
        metric: ``oks``, or ``pck``: the share of points within ``pck_share`` of the longer side of the person's box.
        pck_share: See ``metric``.
    """

    form: Form = "heatmaps"
    output: str | None = None
    refine: Refine = "quarter"
    cells: Cells = "index"
    points_axis: Literal["first", "last"] | None = None
    order: Order = "xy"
    units: Units = "shares"
    columns: int | None = None
    threshold: float = 0.3
    iou: float = 0.7
    limit: int = 50
    edges: tuple[tuple[int, int], ...] | None = None
    sigmas: tuple[float, ...] | None = None
    metric: KeypointMetric = "oks"
    pck_share: float = 0.2

    def __post_init__(self) -> None:
        kinds: dict[str, Any] = {"form": Form, "refine": Refine, "cells": Cells, "order": Order, "units": Units}
        for name, kind in {**kinds, "metric": KeypointMetric}.items():
            if getattr(self, name) not in get_args(kind):
                raise SpecRefused(f"options.{name} = {getattr(self, name)!r}", expected=" or ".join(get_args(kind)))
        if self.points_axis not in (None, "first", "last"):
            raise SpecRefused(f"options.points_axis = {self.points_axis!r}", expected="first or last")
        if self.columns is not None and self.columns < 2:
            raise SpecRefused(f"options.columns = {self.columns}", expected="2 or more: x, y and perhaps a score")
        if any(len(edge) != 2 for edge in self.edges or ()):
            raise SpecRefused(f"options.edges = {self.edges!r}", expected="pairs of point numbers")
        if any(sigma <= 0 for sigma in self.sigmas or ()):
            raise SpecRefused(f"options.sigmas = {self.sigmas!r}", expected="positive numbers")


@dataclass(frozen=True)
class Keypoint:
    """One point.

    Attributes:
        name: Its name, or its number as text.
        x: Photo pixels, 0 at the left edge.
        y: Photo pixels, 0 at the upper edge.
        score: 0..1 for most models; heat maps give the height of the peak.
    """

    name: str
    x: float
    y: float
    score: float


@dataclass(frozen=True)
class Pose:
    """The points of one person or thing.

    Attributes:
        points: In the model's order.
        score: Of the whole: the model's, or the mean of its points.
        box: Left, top, right, bottom in photo pixels, where the model gives one.
    """

    points: tuple[Keypoint, ...]
    score: float
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class Poses:
    """Everybody in a photo, the most certain first.

    Attributes:
        height: Of the photo, pixels.
        width: Of the photo, pixels.
        found: The people.
        edges: Pairs of points that a line connects.
        threshold: Least score of a point that is drawn.
    """

    height: int
    width: int
    found: tuple[Pose, ...]
    edges: tuple[tuple[int, int], ...] = ()
    threshold: float = 0.3

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "height": self.height,
            "width": self.width,
            "poses": [
                {
                    "score": pose.score,
                    **({"box": list(pose.box)} if pose.box else {}),
                    "points": [{"name": p.name, "x": p.x, "y": p.y, "score": p.score} for p in pose.points],
                }
                for pose in self.found
            ],
        }

    def __str__(self) -> str:
        parts = []
        for pose in self.found:
            sure = [point for point in pose.points if point.score >= self.threshold]
            listed = ", ".join(f"{point.name} {point.x:.0f},{point.y:.0f}" for point in sure[:3])
            more = f", {len(sure) - 3} more" if len(sure) > 3 else ""
            parts.append(f"{100 * pose.score:.0f} % {len(sure)} of {len(pose.points)} points: {listed}{more}")
        return "; ".join(parts) or "nobody"

    def draw(self, picture: Picture) -> Picture:
        """Return a copy with points and lines, and boxes where there are."""
        canvas = picture.copy()
        for number, pose in enumerate(self.found):
            places = np.array([(p.x / self.width, p.y / self.height) for p in pose.points])
            places[[p.score < self.threshold for p in pose.points]] = np.nan
            draw_points(canvas, places, color_of(number), self.edges)
            if pose.box is not None:
                box = np.array(pose.box) / [self.width, self.height, self.width, self.height]
                draw_box(canvas, box.tolist(), f"{100 * pose.score:.0f} %", color_of(number))
        return canvas


class Keypoints(PictureTask):
    """Takes a photo; gives `Poses`. Labels name the points; 17 points without labels have COCO's names."""

    name: ClassVar[str] = "keypoints"

    def __init__(self, spec: Spec, root: Path | None = None) -> None:
        super().__init__(spec, root)
        self.options = spec.options_as(KeypointOptions)
        self.output = named_output(spec, self.options.output)

    def decode(self, outputs: Mapping[str, Array], contexts: Sequence[Any] | None = None) -> list[Poses]:
        """Return `Poses` for each photo; in the input's pixels where the photo's size is not known."""
        array = without_nan(self.output, np.asarray(outputs[self.output])).astype(np.float32, copy=False)
        known = contexts if contexts is not None else [None] * len(array)
        grids = [PhotoGrid.of(size, self.tensor, self.preprocess) for size in known]
        read = {"heatmaps": self._heatmaps, "points": self._points, "yolo-pose": self._yolo}[self.options.form]
        return [read(one, grid) for one, grid in zip(array, grids, strict=True)]

    def scorer(self) -> KeypointScorer:
        """Return a scorer of OKS or PCK."""
        return KeypointScorer(self, self.options.metric, self.options.sigmas, self.options.pck_share)

    @classmethod
    def beside(cls, picture: Path) -> Path | None:
        """Return ``NAME.json`` beside ``NAME.jpg``: what `truth` takes."""
        path = picture.with_suffix(".json")
        return path if path.is_file() else None

    @classmethod
    def truth(cls, spec: Spec, raw: Any, where: str) -> tuple[KeypointTruth, ...] | None:
        """Take the people in a photo, or the path of a JSON file with them, or JSON text.

        Args:
            spec: Unused beside its options.
            raw: Mappings with ``points``, a list of ``[x, y]`` or ``[x, y, visibility]`` in photo pixels (or COCO's
                flat ``keypoints``), and if known ``area`` (pixels) and ``bbox`` (left, top, width, height).
            where: For messages.

        Raises:
            DataRefused: Something is missing or no number.
        """
        if raw is None or (isinstance(raw, str) and not raw):
            return None
        people = _read(raw, where)
        return tuple(KeypointTruth.of(one, f"{where}, person {number}") for number, one in enumerate(people, 1))

    def _poses(self, grid: PhotoGrid, found: Sequence[Pose], points: int) -> Poses:
        edges = self.options.edges if self.options.edges is not None else (COCO_EDGES if points == 17 else ())
        if any(not 0 <= end < points for edge in edges for end in edge):
            raise DataRefused(f"options.edges {edges} for {points} points", expected=f"numbers 0..{points - 1}")
        height, width = grid.photo
        best = sorted(found, key=lambda pose: -pose.score)[: self.options.limit]
        return Poses(height, width, tuple(best), edges, self.options.threshold)

    def _pose(self, places: Array, scores: Array, grid: PhotoGrid, score: float | None = None) -> Pose:
        """Name points, given in input pixels."""
        names = self.spec.labels or (COCO_POINTS if len(places) == 17 else tuple(map(str, range(len(places)))))
        if len(names) != len(places):
            raise DataRefused(f"{len(places)} points and {len(names)} labels", expected="one label for each point")
        moved = grid.points(places)
        points = tuple(
            Keypoint(name, float(x), float(y), float(sure))
            for name, (x, y), sure in zip(names, moved, scores, strict=True)
        )
        return Pose(points, float(np.mean(scores)) if score is None else score)

    def _heatmaps(self, maps: Array, grid: PhotoGrid) -> Poses:
        if maps.ndim != 3:
            raise self._refused(maps, "(batch, points, rows, columns) or (batch, rows, columns, points)")
        if self._points_last(maps.shape):
            maps = maps.transpose(2, 0, 1)
        cells, scores = peaks(np.ascontiguousarray(maps), self.options.refine)
        start = 0.5 if self.options.cells == "centre" else 0.0
        places = (cells + start) * np.array(grid.tensor[::-1]) / np.array(maps.shape[:0:-1])
        return self._poses(grid, [self._pose(places, scores, grid)], len(places))

    def _points_last(self, shape: tuple[int, ...]) -> bool:
        if self.options.points_axis is not None:
            return self.options.points_axis == "last"
        if self.spec.labels and (shape[0] == len(self.spec.labels)) != (shape[2] == len(self.spec.labels)):
            return shape[2] == len(self.spec.labels)
        return planes_last(shape, self.tensor)

    def _points(self, numbers: Array, grid: PhotoGrid) -> Poses:
        columns = self.options.columns or numbers.shape[-1]
        points = numbers.size // columns if numbers.ndim == 1 else numbers.shape[-2]
        if numbers.ndim == 1 and self.spec.labels:
            points = len(self.spec.labels)
        if (
            columns < 2
            or points == 0
            or numbers.size % (columns * points)
            or (numbers.ndim == 1) > bool(self.options.columns)
        ):
            raise self._refused(numbers, "(batch, points, 2 or more columns)")
        people = numbers.reshape(-1, points, columns)
        places = people[..., 1::-1] if self.options.order == "yx" else people[..., :2]
        if self.options.units == "shares":
            places = places * np.array(grid.tensor[::-1])
        scores = people[..., 2] if columns > 2 else np.ones(people.shape[:2], np.float32)
        found = [self._pose(*one, grid) for one in zip(places, scores, strict=True)]
        # One person is always answered, with the scores that say how sure its points are.
        sure = found if len(found) == 1 else [pose for pose in found if pose.score >= self.options.threshold]
        return self._poses(grid, sure, points)

    def _yolo(self, candidates: Array, grid: PhotoGrid) -> Poses:
        if candidates.ndim != 2:
            raise self._refused(candidates, "(batch, 5 + 3 * points, candidates)")
        points = len(self.spec.labels) if self.spec.labels else (min(candidates.shape) - 5) // 3
        if points < 1 or 5 + 3 * points not in candidates.shape:
            raise self._refused(candidates, "(batch, 5 + 3 * points, candidates), with a label for each point")
        candidates = candidates if len(candidates) == 5 + 3 * points else candidates.T
        chosen = candidates[:, candidates[4] >= self.options.threshold]
        centre, size, scores = chosen[:2].T, chosen[2:4].T, chosen[4]
        boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
        kept = suppressed(boxes, scores, np.zeros(len(scores), np.intp), self.options.iou)[: self.options.limit]
        corners = grid.points(boxes[kept].reshape(-1, 2, 2)).reshape(-1, 4)
        found = []
        for at, box in zip(kept, corners, strict=True):
            numbers = chosen[5:, at].reshape(points, 3)
            pose = self._pose(numbers[:, :2], numbers[:, 2], grid, float(scores[at]))
            left, top, right, bottom = (float(side) for side in box)
            found.append(Pose(pose.points, pose.score, (left, top, right, bottom)))
        return self._poses(grid, found, points)

    def _refused(self, array: Array, expected: str) -> DataRefused:
        return DataRefused(
            f"output {self.output!r} of shape {[1, *array.shape]} for form {self.options.form}",
            expected=expected,
            remedy="set options.form, options.output or options.columns",
        )


def _read(raw: Any, where: str) -> Sequence[Any]:
    try:
        if isinstance(raw, Path):
            raw = json.loads(raw.read_text(encoding="utf-8"))
        elif isinstance(raw, str):
            raw = json.loads(raw)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataRefused(f"{where}: {error}", expected="JSON with points for each person") from error
    people = [raw] if isinstance(raw, Mapping) else raw
    if not isinstance(people, (list, tuple)):
        raise DataRefused(f"{where}: {str(raw)[:80]}", expected="a list of people with points")
    return people
