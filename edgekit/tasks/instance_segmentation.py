"""Instance segmentation: a photo in, boxes, classes and masks of the things in it out.

``yolo-seg`` is the head of YOLOv8-seg and its successors: boxes, class scores and mask coefficients for each candidate,
and prototypes whose weighted sums are the masks (Bolya et al. 2019, YOLACT, arXiv:1904.02689). ``mask-rcnn`` is boxes,
labels, scores and a small mask in each box (He et al. 2017, arXiv:1703.06870), pasted as torchvision does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgekit.drawing import Picture, color_of, draw_box
from edgekit.engine import Array
from edgekit.errors import DataRefused, SpecRefused
from edgekit.spec import Spec
from edgekit.tasks import rle
from edgekit.tasks.classification import class_number
from edgekit.tasks.instance_scorer import InstanceScorer, InstanceTruth
from edgekit.tasks.picture import PictureTask
from edgekit.tasks.planes import PhotoGrid, without_nan

Form = Literal["yolo-seg", "mask-rcnn"]
_OPACITY = 0.5


@dataclass(frozen=True)
class InstanceOptions:
    """Options of instance segmentation.

    Attributes:
        form: ``yolo-seg``: one output of candidates, ``(batch, 4 + classes + coefficients, candidates)`` or with the
            last two axes swapped, and one of prototypes, ``(batch, coefficients, rows, columns)`` or channels last.
            ``mask-rcnn``: ``(batch, n, 4)`` boxes as left, top, right, bottom in input pixels, ``(batch, n)`` labels
            and scores, ``(batch, n, rows, columns)`` masks as shares, in this order unless named ``boxes``, ``labels``,
            ``scores`` and ``masks``; without the batch axis for a batch of 1.
        coefficients: Of a mask, in ``yolo-seg``.
        threshold: Least score.
        iou: Overlap from which on the lesser of two boxes of a class is dropped, in ``yolo-seg``.
        limit: Most instances of a photo.
        mask_threshold: Share from which on a pixel belongs to an instance.
    """

    form: Form = "yolo-seg"
    coefficients: int = 32
    threshold: float = 0.25
    iou: float = 0.7
    limit: int = 100
    mask_threshold: float = 0.5

    def __post_init__(self) -> None:
        if self.form not in get_args(Form):
            raise SpecRefused(f"options.form = {self.form!r}", expected=" or ".join(get_args(Form)))
        for name in ("threshold", "iou", "mask_threshold"):
            if not 0 < getattr(self, name) < 1:
                raise SpecRefused(f"options.{name} = {getattr(self, name)!r}", expected="a share between 0 and 1")
        if self.limit < 1 or self.coefficients < 1:
            raise SpecRefused(f"options.limit = {self.limit}, coefficients = {self.coefficients}", expected="1 or more")


@dataclass(frozen=True, eq=False)
class Instance:
    """One thing.

    Attributes:
        index: Class number.
        name: Class name, or the number as text without labels.
        score: 0..1.
        box: Left, top, right, bottom in photo pixels.
        corner: Left and top of the mask in the photo, pixels.
        mask: ``(rows, columns)`` bool, the part of the photo around the thing.
    """

    index: int
    name: str
    score: float
    box: tuple[float, float, float, float]
    corner: tuple[int, int]
    mask: NDArray[np.bool_]

    def whole(self, height: int, width: int) -> NDArray[np.bool_]:
        """Return the mask at the photo's size."""
        left, top = self.corner
        rows, columns = self.mask.shape
        full = np.zeros((height, width), bool)
        full[top : top + rows, left : left + columns] = self.mask
        return full


@dataclass(frozen=True, eq=False)
class Instances:
    """Things in a photo, the most certain first.

    Attributes:
        height: Of the photo, pixels.
        width: Of the photo, pixels.
        found: The things.
    """

    height: int
    width: int
    found: tuple[Instance, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; masks are COCO's run-length encoding, boxes left, top, right, bottom in pixels."""
        return {
            "height": self.height,
            "width": self.width,
            "instances": [
                {
                    "index": one.index,
                    "name": one.name,
                    "score": one.score,
                    "box": list(one.box),
                    "mask": rle.encode(one.whole(self.height, self.width)),
                }
                for one in self.found
            ],
        }

    def __str__(self) -> str:
        return ", ".join(f"{one.name} {100 * one.score:.1f} %" for one in self.found) or "nothing"

    def draw(self, picture: Picture) -> Picture:
        """Return a copy with masks and boxes, the most certain on top."""
        canvas = picture.copy()
        for one in reversed(self.found):
            self._tint(canvas, one)
        for one in reversed(self.found):
            left, top, right, bottom = one.box
            shares = (left / self.width, top / self.height, right / self.width, bottom / self.height)
            draw_box(canvas, shares, f"{one.name} {100 * one.score:.0f} %", color_of(one.index))
        return canvas

    def _tint(self, canvas: Picture, one: Instance) -> None:
        import cv2

        height, width = canvas.shape[:2]
        (left, top), (rows, columns) = one.corner, one.mask.shape
        x, right = (round(at * width / self.width) for at in (left, left + columns))
        y, bottom = (round(at * height / self.height) for at in (top, top + rows))
        if right > x and bottom > y:
            part = canvas[y:bottom, x:right]
            size = (right - x, bottom - y)
            inside = cv2.resize(one.mask.view(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)
            tint = np.array(color_of(one.index), np.float32)
            part[inside] = np.rint(part[inside] * (1 - _OPACITY) + tint * _OPACITY).astype(np.uint8)


class InstanceSegmentation(PictureTask):
    """Takes a photo; gives `Instances` in its pixels."""

    name: ClassVar[str] = "instance-segmentation"

    def __init__(self, spec: Spec, root: Path | None = None) -> None:
        super().__init__(spec, root)
        self.options = spec.options_as(InstanceOptions)
        if self.options.form == "yolo-seg":
            self._candidates, self._prototypes = _yolo_outputs(spec)
        else:
            self._rcnn = _rcnn_outputs(spec)

    def decode(self, outputs: Mapping[str, Array], contexts: Sequence[Any] | None = None) -> list[Instances]:
        """Return `Instances` for each photo; in the input's pixels where the photo's size is not known."""
        arrays = {name: without_nan(name, np.asarray(array)) for name, array in outputs.items() if array.size}
        if self.options.form == "yolo-seg":
            return self._yolo(arrays, contexts)
        return self._mask_rcnn({**outputs, **arrays}, contexts)

    def scorer(self) -> InstanceScorer:
        """Return a scorer of mask IoU and mask mAP50."""
        return InstanceScorer(self)

    @classmethod
    def beside(cls, picture: Path) -> Path | None:
        """Return ``NAME.json`` beside ``NAME.jpg``: a list of annotations, see `truth`."""
        path = picture.with_suffix(".json")
        return path if path.is_file() else None

    @classmethod
    def truth(cls, spec: Spec, raw: Any, where: str) -> tuple[InstanceTruth, ...] | None:
        """Take annotations in COCO's form, or the path of a JSON file with them.

        Args:
            spec: For names of classes.
            raw: Mappings with ``label`` (a name or number), ``segmentation`` (run-length encoding, or polygons in
                photo pixels) and, if it is so, ``iscrowd``.
            where: For messages.

        Raises:
            DataRefused: Something is missing, or a class is unknown.
        """
        if raw is None or (isinstance(raw, str) and not raw):
            return None
        if isinstance(raw, (str, Path)):
            raw = _read_json(Path(raw), where)
        if not isinstance(raw, (list, tuple)):
            raise DataRefused(f"{where}: {str(raw)[:80]}", expected="a list of annotations with label and segmentation")
        return tuple(_annotation(spec, one, f"{where}, annotation {number}") for number, one in enumerate(raw, 1))

    def _grids(self, count: int, contexts: Sequence[Any] | None) -> list[PhotoGrid]:
        known = contexts if contexts is not None else [None] * count
        return [PhotoGrid.of(size, self.tensor, self.preprocess) for size in known]

    def _named(self, index: int) -> str:
        labels = self.spec.labels
        return labels[index] if labels and index < len(labels) else str(index)

    def _yolo(self, arrays: Mapping[str, Array], contexts: Sequence[Any] | None) -> list[Instances]:
        if self._candidates not in arrays or self._prototypes not in arrays:
            raise DataRefused("outputs without candidates or prototypes", expected="both")
        candidates = arrays[self._candidates].astype(np.float32, copy=False)
        prototypes = arrays[self._prototypes].astype(np.float32, copy=False)
        if prototypes.shape[1] != self.options.coefficients:
            prototypes = prototypes.transpose(0, 3, 1, 2)
        if prototypes.shape[1] != self.options.coefficients:
            raise DataRefused(
                f"prototypes of shape {list(arrays[self._prototypes].shape)}",
                expected=f"{self.options.coefficients} of them",
                remedy="set options.coefficients",
            )
        grids = self._grids(len(candidates), contexts)
        return [self._yolo_photo(*one) for one in zip(candidates, prototypes, grids, strict=True)]

    def _yolo_photo(self, candidates: Array, prototypes: Array, grid: PhotoGrid) -> Instances:
        masks = self.options.coefficients
        known = 4 + masks + len(self.spec.labels) if self.spec.labels else min(candidates.shape)
        if known not in candidates.shape or known <= 4 + masks:
            raise DataRefused(
                f"candidates of shape {list(candidates.shape)}",
                expected=f"4 + classes + {masks} numbers each",
                remedy="pass the matching --labels file, or set options.coefficients",
            )
        classes, scores, boxes, rows = self._kept(candidates if len(candidates) == known else candidates.T)
        height, width = grid.photo
        corners = grid.points(boxes.reshape(-1, 2, 2)).reshape(-1, 4)
        corners = np.clip(corners, 0, [width, height, width, height])
        planes = (rows @ prototypes.reshape(masks, -1)).reshape(-1, *prototypes.shape[1:])
        cut = float(np.log(self.options.mask_threshold / (1 - self.options.mask_threshold)))
        found = []
        for index, score, box, plane in zip(classes, scores, corners, planes, strict=True):
            left, top, right, bottom = (int(side) for side in np.ceil(box))
            if right > left and bottom > top:
                mask = grid.bilinear(plane, (left, top, right, bottom)) > cut
                if mask.any():
                    found.append(self._instance(index, score, box, (left, top), mask))
        return Instances(height, width, tuple(found))

    def _kept(self, candidates: Array) -> tuple[Array, Array, Array, Array]:
        """Classes, scores, boxes ``(n, 4)`` in input pixels and coefficients of what non-maximum suppression leaves."""
        scores = candidates[4 : len(candidates) - self.options.coefficients]
        best = scores.max(axis=0)
        chosen = np.flatnonzero(best >= self.options.threshold)
        centre, size = candidates[:2, chosen].T, candidates[2:4, chosen].T
        boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
        classes, best = scores[:, chosen].argmax(axis=0), best[chosen]
        kept = suppressed(boxes, best, classes, self.options.iou)[: self.options.limit]
        return classes[kept], best[kept], boxes[kept], candidates[-self.options.coefficients :, chosen[kept]].T

    def _mask_rcnn(self, outputs: Mapping[str, Array], contexts: Sequence[Any] | None) -> list[Instances]:
        boxes, labels, scores, masks = (np.asarray(outputs[name]) for name in self._rcnn)
        if boxes.ndim == 2:
            boxes, labels, scores, masks = boxes[None], labels[None], scores[None], masks[None]
        if masks.ndim == 5:
            masks = masks[:, :, 0]
        shapes = [list(array.shape) for array in (boxes, labels, scores, masks)]
        same = boxes.shape[:2] == labels.shape == scores.shape == masks.shape[:2]
        if not same or boxes.shape[2:] != (4,) or masks.ndim != 4:
            raise DataRefused(
                f"outputs of shapes {shapes}", expected="boxes, labels, scores and masks of as many things"
            )
        grids = self._grids(len(boxes), contexts)
        return [self._rcnn_photo(*one) for one in zip(boxes, labels, scores, masks, grids, strict=True)]

    def _rcnn_photo(self, boxes: Array, labels: Array, scores: Array, masks: Array, grid: PhotoGrid) -> Instances:
        height, width = grid.photo
        order = np.argsort(-scores, kind="stable")
        order = order[scores[order] >= self.options.threshold][: self.options.limit]
        corners = grid.points(boxes[order].reshape(-1, 2, 2)).reshape(-1, 4)
        corners = np.clip(corners, 0, [width, height, width, height])
        found = []
        for at, box in zip(order, corners, strict=True):
            corner, shares = pasted(masks[at], box, (height, width))
            mask = shares > self.options.mask_threshold
            if mask.any():
                found.append(self._instance(int(labels[at]), float(scores[at]), box, corner, mask))
        return Instances(height, width, tuple(found))

    def _instance(self, index: int, score: float, box: Array, corner: tuple[int, int], mask: Array) -> Instance:
        left, top, right, bottom = (float(side) for side in box)
        return Instance(int(index), self._named(int(index)), float(score), (left, top, right, bottom), corner, mask)


def suppressed(boxes: Array, scores: Array, classes: Array, iou: float) -> NDArray[np.intp]:
    """Non-maximum suppression within each class.

    Args:
        boxes: ``(n, 4)`` left, top, right, bottom.
        scores: ``(n,)``.
        classes: ``(n,)`` integers.
        iou: Intersection over union above which the lesser box is dropped.

    Returns:
        Indices that are kept, the highest score first.
    """
    order = np.argsort(-scores, kind="stable")
    boxes, classes = boxes[order].astype(np.float64), classes[order]
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    alive = np.ones(len(order), bool)
    for at in range(len(order)):
        if alive[at]:
            rest = np.flatnonzero(alive[at + 1 :] & (classes[at + 1 :] == classes[at])) + at + 1
            inner = np.minimum(boxes[at, 2:], boxes[rest, 2:]) - np.maximum(boxes[at, :2], boxes[rest, :2])
            both = np.prod(np.maximum(inner, 0), axis=1)
            alive[rest[both > iou * (areas[at] + areas[rest] - both)]] = False
    kept: NDArray[np.intp] = order[alive]
    return kept


def pasted(mask: Array, box: Array, photo: tuple[int, int]) -> tuple[tuple[int, int], NDArray[np.float32]]:
    """Resize a small mask to its box, as torchvision's ``paste_masks_in_image`` does.

    Args:
        mask: ``(rows, columns)`` shares.
        box: Left, top, right, bottom in photo pixels.
        photo: Height and width.

    Returns:
        Left and top of the part, and its shares.
    """
    import cv2

    padded = np.pad(np.asarray(mask, np.float32), 1)
    factors = np.array([padded.shape[1] / mask.shape[1], padded.shape[0] / mask.shape[0]])
    centre, half = (box[2:] + box[:2]) / 2, (box[2:] - box[:2]) / 2 * factors
    (left, top), (right, bottom) = np.trunc(centre - half).astype(int), np.trunc(centre + half).astype(int)
    size = (max(1, right - left + 1), max(1, bottom - top + 1))
    shares: NDArray[np.float32] = cv2.resize(padded, (int(size[0]), int(size[1])), interpolation=cv2.INTER_LINEAR)
    x, y = max(int(left), 0), max(int(top), 0)
    part = shares[y - top : min(bottom + 1, photo[0]) - top, x - left : min(right + 1, photo[1]) - left]
    return (x, y), part


def _yolo_outputs(spec: Spec) -> tuple[str, str]:
    """Names of the candidates and the prototypes."""
    three = [output.name for output in spec.outputs if len(output.shape) == 3]
    four = [output.name for output in spec.outputs if len(output.shape) == 4]
    if len(three) != 1 or len(four) != 1:
        raise SpecRefused(
            f"outputs {[(output.name, list(output.shape)) for output in spec.outputs]} for form yolo-seg",
            expected="one of three dimensions with the candidates and one of four with the prototypes",
        )
    return three[0], four[0]


def _rcnn_outputs(spec: Spec) -> tuple[str, str, str, str]:
    """Names of boxes, labels, scores and masks."""
    names = [output.name for output in spec.outputs]
    wanted = ("boxes", "labels", "scores", "masks")
    if set(wanted) <= set(names):
        return wanted
    if len(names) != 4:
        raise SpecRefused(f"outputs {names} for form mask-rcnn", expected="boxes, labels, scores and masks")
    return names[0], names[1], names[2], names[3]


def _read_json(path: Path, where: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataRefused(f"{where}: {error}", expected="a JSON file with annotations") from error


def _annotation(spec: Spec, raw: Any, where: str) -> InstanceTruth:
    if not isinstance(raw, Mapping) or "label" not in raw or "segmentation" not in raw:
        raise DataRefused(f"{where}: {str(raw)[:80]}", expected="label and segmentation")
    number = class_number(Spec(spec.task, labels=spec.labels), raw["label"], where)
    if number is None:
        raise DataRefused(f"{where}: no label", expected="a class name or number")
    return InstanceTruth(number, raw["segmentation"], bool(raw.get("iscrowd", False)), where)
