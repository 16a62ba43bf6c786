"""Semantic segmentation: a photo in, a class for each of its pixels out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgekit.drawing import Picture, color_of, draw_legend
from edgekit.engine import Array
from edgekit.errors import DataRefused, SpecRefused
from edgekit.metrics import Metric, bootstrapped
from edgekit.spec import Spec
from edgekit.tasks.base import ResultScorer
from edgekit.tasks.label_maps import LabelMap, is_mask, mask_beside, png_text
from edgekit.tasks.picture import PictureTask
from edgekit.tasks.planes import PhotoGrid, planes_last, without_nan

UNSEEN = 255
"""Class number of pixels that preprocessing cut off, and of none else."""

_BACKGROUND = "background"
_LISTED = 5
_OPACITY = 0.55

Channels = Literal["first", "last"]
Upsample = Literal["logits", "map"]


@dataclass(frozen=True)
class SegmentationOptions:
    """Options of semantic segmentation.

    Attributes:
        output: Name of the output with the scores or the class map; ``None`` is the first.
        channels: Where the classes are in scores of four dimensions: ``first`` (batch, classes, rows, columns) or
            ``last``; ``None`` finds out by the number of labels, or by the input's proportions.
        upsample: ``logits`` resamples the scores of each class bilinearly to the photo's size and then decides, as
            the published models are evaluated; ``map`` decides at the model's resolution and repeats the nearest
            decision, which is faster and leaves steps at edges.
        ignore: Number in label maps of pixels that do not count; ``None`` for none.
    """

    output: str | None = None
    channels: Channels | None = None
    upsample: Upsample = "logits"
    ignore: int | None = 255

    def __post_init__(self) -> None:
        if self.channels not in (None, *get_args(Channels)):
            raise SpecRefused(f"options.channels = {self.channels!r}", expected="first or last")
        if self.upsample not in get_args(Upsample):
            raise SpecRefused(f"options.upsample = {self.upsample!r}", expected="logits or map")
        if self.ignore is not None and not (isinstance(self.ignore, int) and 0 <= self.ignore <= 255):
            raise SpecRefused(f"options.ignore = {self.ignore!r}", expected="a number 0..255 of the label maps")


@dataclass(frozen=True)
class ClassShare:
    """How much of a photo a class covers.

    Attributes:
        index: Class number.
        name: Class name, or the number as text without labels.
        share: Of the pixels that the model saw, 0..1.
    """

    index: int
    name: str
    share: float


@dataclass(frozen=True, eq=False)
class SegmentationMap:
    """The class of each pixel.

    Attributes:
        classes: ``(height, width)`` uint8 class numbers at the photo's size; `UNSEEN` where preprocessing cut it off.
        names: Class names; ``None`` without labels.
    """

    classes: NDArray[np.uint8]
    names: tuple[str, ...] | None = None

    @cached_property
    def shares(self) -> tuple[ClassShare, ...]:
        """The classes that occur, the largest first."""
        counts = np.bincount(self.classes.ravel(), minlength=256)[:UNSEEN]
        seen = max(1, int(counts.sum()))
        order = np.argsort(-counts, kind="stable")[: int((counts > 0).sum())]
        return tuple(ClassShare(int(i), self._name(int(i)), float(counts[i] / seen)) for i in order)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; ``map`` is an 8-bit gray PNG in base64, a class number a pixel, 255 where unseen."""
        height, width = self.classes.shape
        return {
            "height": int(height),
            "width": int(width),
            "classes": [{"index": one.index, "name": one.name, "share": one.share} for one in self.shares],
            "map": png_text(self.classes),
        }

    def __str__(self) -> str:
        listed = [f"{one.name} {100 * one.share:.1f} %" for one in self.shares[:_LISTED]]
        more = len(self.shares) - _LISTED
        return ", ".join(listed) + (f", {more} more" if more > 0 else "") if listed else "nothing"

    def draw(self, picture: Picture) -> Picture:
        """Return a copy tinted by class, with a legend; a class named ``background`` is left as it is."""
        import cv2

        height, width = picture.shape[:2]
        classes = cv2.resize(self.classes, (width, height), interpolation=cv2.INTER_NEAREST)
        shown = [one for one in self.shares if one.name != _BACKGROUND]
        colors, tinted = np.zeros((256, 3), np.uint8), np.zeros(256, bool)
        for one in shown:
            colors[one.index], tinted[one.index] = color_of(one.index), True
        blended = cv2.addWeighted(picture, 1 - _OPACITY, colors[classes], _OPACITY, 0)
        canvas: Picture = np.where(tinted[classes][..., None], blended, picture)
        draw_legend(canvas, [(f"{one.name} {100 * one.share:.0f} %", color_of(one.index)) for one in shown])
        return canvas

    def _name(self, index: int) -> str:
        return self.names[index] if self.names and index < len(self.names) else str(index)


class SemanticSegmentation(PictureTask):
    """Takes a photo; gives a `SegmentationMap` of its size.

    Outputs may be logits or probabilities of four dimensions, or class numbers ``(batch, rows, columns)``.
    """

    name: ClassVar[str] = "semantic-segmentation"

    def __init__(self, spec: Spec, root: Path | None = None) -> None:
        super().__init__(spec, root)
        self.options = spec.options_as(SegmentationOptions)
        self.output = named_output(spec, self.options.output)
        shape = next(output.shape for output in spec.outputs if output.name == self.output)
        if len(shape) not in (3, 4):
            raise SpecRefused(
                f"{self.name} with output {self.output!r} of shape {list(shape)}",
                expected="(batch, classes, rows, columns), (batch, rows, columns, classes) or (batch, rows, columns)",
                remedy="name the output with options.output",
            )
        if len(shape) == 4:
            self._class_axis(shape)

    def decode(self, outputs: Mapping[str, Array], contexts: Sequence[Any] | None = None) -> list[SegmentationMap]:
        """Return a `SegmentationMap` for each photo; of the input's size where the photo's is not known."""
        array = without_nan(self.output, np.asarray(outputs[self.output]))
        known = contexts if contexts is not None else [None] * len(array)
        grids = [PhotoGrid.of(size, self.tensor, self.preprocess) for size in known]
        return [SegmentationMap(self._map(one, grid), self.spec.labels) for one, grid in zip(array, grids, strict=True)]

    def scorer(self) -> SegmentationScorer:
        """Return a scorer of pixel agreement and mIoU."""
        return SegmentationScorer(self, self.options.ignore)

    @classmethod
    def beside(cls, picture: Path) -> Path | None:
        """Return ``NAME_mask.png`` beside ``NAME.jpg``."""
        return mask_beside(picture)

    @classmethod
    def is_truth(cls, picture: Path) -> bool:
        """Whether an image is the label map of another."""
        return is_mask(picture)

    @classmethod
    def truth(cls, spec: Spec, raw: Any, where: str) -> LabelMap | None:
        """Take the path of a label map or a ``(height, width)`` array of class numbers.

        Raises:
            DataRefused: It cannot be read, or holds numbers that are no class.
        """
        if raw is None or (isinstance(raw, str) and not raw):
            return None
        label_map = LabelMap.of(raw, where)
        ignore = spec.options_as(SegmentationOptions).ignore
        if spec.labels:
            found = np.flatnonzero(np.bincount(label_map.read().ravel(), minlength=256))
            unknown = [int(number) for number in found if number >= len(spec.labels) and number != ignore]
            if unknown:
                raise DataRefused(
                    f"{where}: the label map holds {', '.join(map(str, unknown[:5]))}",
                    expected=f"class numbers 0..{len(spec.labels) - 1}" + ("" if ignore is None else f" or {ignore}"),
                    remedy="pass the matching --labels, or set options.ignore for pixels that do not count",
                )
        return label_map

    def _class_axis(self, shape: Sequence[int | None]) -> int:
        """Axis of the classes in scores ``(batch, …)`` of four dimensions."""
        if self.options.channels is not None:
            return 1 if self.options.channels == "first" else 3
        sizes = (shape[1], shape[3])
        count = len(self.spec.labels) if self.spec.labels else None
        fits = [axis for axis, size in zip((1, 3), sizes, strict=True) if size == count]
        if count is not None and len(fits) != 1 and None not in sizes:
            raise SpecRefused(
                f"{count} labels for output {self.output!r} of shape {list(shape)}",
                expected="one label for each class",
                remedy="pass the matching --labels file, or say where the classes are with options.channels",
            )
        if len(fits) == 1:
            return fits[0]
        return 3 if planes_last(shape[1:], self.tensor) else 1

    def _map(self, output: Array, grid: PhotoGrid) -> NDArray[np.uint8]:
        """Decide for one photo."""
        if output.ndim == 2:
            return _cut(grid.nearest(self._numbers(output)), grid)
        if self._class_axis((1, *output.shape)) == 3:
            output = output.transpose(2, 0, 1)
        if len(output) > UNSEEN:
            raise DataRefused(f"{len(output)} classes in output {self.output!r}", expected=f"at most {UNSEEN}")
        planes = np.ascontiguousarray(output, np.float32)
        if self.options.upsample == "map":
            return _cut(grid.nearest(largest(planes)), grid)
        return _cut(largest(planes, grid), grid)

    def _numbers(self, output: Array) -> NDArray[np.uint8]:
        if output.min() < 0 or output.max() >= UNSEEN:
            raise DataRefused(
                f"output {self.output!r} holds {output.min():g}..{output.max():g}",
                expected=f"class numbers 0..{UNSEEN - 1}",
                remedy="for scores of one class use the task matting",
            )
        return np.rint(output).astype(np.uint8)


def largest(planes: Array, grid: PhotoGrid | None = None) -> NDArray[np.uint8]:
    """Number of the largest plane at each place, the first of equals: argmax, in vector instructions.

    Args:
        planes: ``(classes, rows, columns)`` float32, at most 255 classes.
        grid: Where given, planes are resampled to the photo first, one at a time.

    Returns:
        ``(rows, columns)`` uint8.
    """
    best = (planes[0] if grid is None else grid.bilinear(planes[0])).copy()
    winner = np.zeros(best.shape, np.uint8)
    wins = np.empty(best.shape, bool)
    for number in range(1, len(planes)):
        plane = planes[number] if grid is None else grid.bilinear(planes[number])
        np.greater(plane, best, out=wins)
        np.maximum(plane, best, out=best)
        np.maximum(winner, wins.view(np.uint8) * np.uint8(number), out=winner)
    return winner


def named_output(spec: Spec, name: str | None) -> str:
    """Return the output that the options name, or the first. Raises SpecRefused when there is none of that name."""
    names = [output.name for output in spec.outputs]
    if name is not None and name not in names:
        raise SpecRefused(f"options.output = {name!r}", expected=" or ".join(names))
    return name or names[0]


def _cut(classes: Array, grid: PhotoGrid) -> NDArray[np.uint8]:
    """Mark what the model did not see."""
    rows, columns = grid.seen
    if (rows, columns) == (slice(0, grid.photo[0]), slice(0, grid.photo[1])):
        return np.ascontiguousarray(classes, np.uint8)
    whole = np.full(grid.photo, UNSEEN, np.uint8)
    whole[rows, columns] = classes[rows, columns]
    return whole


class SegmentationScorer(ResultScorer):
    """Pixel agreement, and mIoU: intersection over union of each class over all photos, averaged over classes.

    Classes count that occur in truth or answers; pixels labelled ``ignore`` and those that preprocessing cut off are
    left out. The interval is the bootstrap's over photos.
    """

    def __init__(self, task: SemanticSegmentation, ignore: int | None) -> None:
        super().__init__(task)
        self._ignore = ignore
        self._alike: list[tuple[int, int]] = []
        self._counts: list[tuple[Array, Array]] = []

    def add(self, want: SegmentationMap, got: SegmentationMap, truth: LabelMap | None) -> None:
        """Compare two maps, and both with the label map. Raises DataRefused when that has another size."""
        seen = want.classes != UNSEEN
        self._alike.append((int(((want.classes == got.classes) & seen).sum()), int(seen.sum())))
        if truth is not None:
            right = truth.of_size(want.classes.shape)
            counted = seen if self._ignore is None else seen & (right != self._ignore)
            labels = right[counted]
            self._counts.append((_overlaps(labels, want.classes[counted]), _overlaps(labels, got.classes[counted])))

    def missing(self, want: SegmentationMap, truth: LabelMap | None) -> None:
        """Count every pixel as wrong."""
        self.add(want, SegmentationMap(np.full_like(want.classes, UNSEEN)), truth)

    def agreement(self) -> Metric | None:
        """Share of pixels on which both decide alike."""
        if not self._alike:
            return None
        alike = np.array(self._alike, np.float64)

        def share(photos: Array) -> float:
            same, seen = alike[photos].sum(axis=0)
            return float(same / seen) if seen else float("nan")

        return bootstrapped("pixel agreement", len(alike), share)

    def metrics(self) -> tuple[Metric, Metric] | None:
        """MIoU of the original and of the artifact; ``None`` without label maps."""
        if not self._counts:
            return None
        original, artifact = (np.stack([pair[side] for pair in self._counts]) for side in (0, 1))
        return self._miou(original), self._miou(artifact)

    def _miou(self, counts: Array) -> Metric:
        def mean(photos: Array) -> float:
            both, either = counts[photos].sum(axis=0)
            occurs = either > 0
            if self._ignore is not None:
                occurs[self._ignore] = False
            occurs[UNSEEN] = False
            return float((both[occurs] / either[occurs]).mean()) if occurs.any() else float("nan")

        return bootstrapped("mIoU", len(counts), mean)


def _overlaps(labels: Array, answers: Array) -> Array:
    """``(2, 256)``: pixels of each class in both, and in either."""
    both = np.bincount(labels[labels == answers], minlength=256)
    either = np.bincount(labels, minlength=256) + np.bincount(answers, minlength=256) - both
    return np.stack([both, either])
