"""What is right in a photo: boxes from YOLO text files, from COCO annotations or from Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.engine import Array
from edgekit.errors import DataRefused
from edgekit.spec import Spec
from edgekit.tasks.boxes import Boxes, from_centres
from edgekit.tasks.classification import class_number

_EXPECTED = "lines of: class, centre x, centre y, width, height, as shares 0..1 of the photo"
_SLACK = 0.01  # shares that annotation tools round over the edge


@dataclass(frozen=True, eq=False)
class Objects:
    """The objects of a photo.

    Attributes:
        boxes: ``(count, 4)`` left, top, right, bottom as shares of the photo's width and height.
        classes: ``(count,)`` class numbers.
        crowd: ``(count,)`` whether a box stands for many objects, as COCO marks them: what is found there counts
            neither as right nor as wrong.
    """

    boxes: Boxes
    classes: Array
    crowd: Array


def objects(spec: Spec, raw: Any, where: str) -> Objects | None:
    """Read what a data set says of a photo.

    Args:
        spec: For the classes.
        raw: Path of a YOLO text file (boxes or polygons, one a line); a mapping with ``width``, ``height`` and
            ``annotations``, each with ``bbox`` (left, top, width, height in pixels), ``category`` (name or number) and
            maybe ``iscrowd``; `Objects`; ``None`` where it is silent.
        where: For messages.

    Raises:
        DataRefused: It is none of these.
    """
    if raw is None or raw == "" or isinstance(raw, Objects):
        return raw or None
    if isinstance(raw, Path):
        return _yolo(spec, raw)
    if isinstance(raw, Mapping) and {"width", "height", "annotations"} <= set(raw):
        return _coco(spec, raw, where)
    raise DataRefused(
        f"{where}: {str(raw)[:80]!r} as the boxes of a photo",
        expected="a YOLO .txt file, or width, height and annotations as COCO has them",
    )


def label_file(photo: Path) -> Path | None:
    """The YOLO text file of a photo: beside it, or in ``labels`` for a photo in ``images``; ``None`` without one."""
    beside = photo.with_suffix(".txt")
    if beside.is_file():
        return beside
    parts = list(photo.parts)
    if "images" in parts[:-1]:
        parts[len(parts) - 2 - parts[:-1][::-1].index("images")] = "labels"
        other = Path(*parts).with_suffix(".txt")
        return other if other.is_file() else None
    return None


def _yolo(spec: Spec, path: Path) -> Objects:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataRefused(f"{path} cannot be read: {error}", expected=_EXPECTED) from error
    rows = [_yolo_line(spec, line.split(), f"{path} line {n}") for n, line in enumerate(lines, 1) if line.strip()]
    boxes = np.array([box for _, box in rows], np.float64).reshape(-1, 4)
    classes = np.array([number for number, _ in rows], np.int64)
    return Objects(np.clip(boxes, 0, 1), classes, np.zeros(len(rows), bool))


def _yolo_line(spec: Spec, words: list[str], where: str) -> tuple[int, Array]:
    try:
        numbers = np.array([float(word) for word in words[1:]])
    except ValueError:
        numbers = np.array([])
    box_or_polygon = len(numbers) == 4 or (len(numbers) >= 6 and len(numbers) % 2 == 0)
    if (
        not box_or_polygon
        or not np.isfinite(numbers).all()
        or (numbers < -_SLACK).any()
        or (numbers > 1 + _SLACK).any()
    ):
        raise DataRefused(f"{where}: {' '.join(words)[:80]!r}", expected=_EXPECTED)
    number = class_number(_classes_only(spec), words[0], where)
    assert number is not None  # noqa: S101  a line has a first word
    if len(numbers) == 4:
        box: Array = from_centres(numbers[None])[0]
        return number, box
    points = numbers.reshape(-1, 2)
    return number, np.concatenate([points.min(axis=0), points.max(axis=0)])


def _coco(spec: Spec, raw: Mapping[str, Any], where: str) -> Objects:
    boxes, classes, crowd = [], [], []
    try:
        size = np.array([raw["width"], raw["height"]] * 2, np.float64)
        for annotation in raw["annotations"]:
            left, top, width, height = (float(number) for number in annotation["bbox"])
            boxes.append(np.array([left, top, left + width, top + height]) / size)
            classes.append(class_number(_classes_only(spec), annotation["category"], where))
            crowd.append(bool(annotation.get("iscrowd", 0)))
    except (KeyError, TypeError, ValueError) as error:
        raise DataRefused(
            f"{where}: an annotation without {error}", expected="bbox of four numbers, category"
        ) from error
    found = np.array(boxes, np.float64).reshape(-1, 4)
    if not np.isfinite(found).all():
        raise DataRefused(f"{where}: a box that is not finite", expected="bbox of four numbers in pixels")
    return Objects(found, np.array(classes, np.int64), np.array(crowd, bool))


def _classes_only(spec: Spec) -> Spec:
    """Without outputs, whose sizes do not count classes here."""
    return spec.replace(outputs=())
