"""Object detection: a photo in, boxes with classes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgekit.drawing import color_of, draw_box
from edgekit.engine import Array
from edgekit.errors import DataRefused, SpecRefused
from edgekit.parity import Scorer
from edgekit.spec import Preprocess, Spec
from edgekit.tasks.boxes import areas, into_photo, suppress
from edgekit.tasks.detection_anchor_heads import Fcos, Ssd, SsdPostprocessed
from edgekit.tasks.detection_heads import Candidates, Detr, FastestDet, Head, YoloV5, YoloV8, YoloV10
from edgekit.tasks.detection_options import DetectionOptions
from edgekit.tasks.detection_truth import Objects, label_file, objects
from edgekit.tasks.picture import PictureSize, PictureTask

HEADS: dict[str, type[Head]] = {
    "yolov5": YoloV5,
    "yolov8": YoloV8,
    "yolov10": YoloV10,
    "fastestdet": FastestDet,
    "fcos": Fcos,
    "ssd": Ssd,
    "ssd-postprocessed": SsdPostprocessed,
    "detr": Detr,
}
"""Name in a spec's options -> what decodes the outputs."""

_IN_A_LINE = 6


@dataclass(frozen=True)
class Detection:
    """One object.

    Attributes:
        box: Left, top, right, bottom in pixels of the photo.
        index: Class number.
        name: Class name, or the number as text without labels.
        score: 0..1.
    """

    box: tuple[float, float, float, float]
    index: int
    name: str
    score: float


@dataclass(frozen=True)
class Detections:
    """The objects of a photo, best score first.

    Attributes:
        objects: What was found.
        width: Of the photo, in pixels.
        height: Of the photo, in pixels.
        threshold: Scores are above it.
    """

    objects: tuple[Detection, ...]
    width: int
    height: int
    threshold: float

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "count": len(self.objects),
            "objects": [{**asdict(one), "box": [round(side, 2) for side in one.box]} for one in self.objects],
            "width": self.width,
            "height": self.height,
        }

    def __str__(self) -> str:
        if not self.objects:
            return f"nothing with a score above {self.threshold:g}"
        shown = ", ".join(f"{one.name} {100 * one.score:.0f} % {_corners(one)}" for one in self.objects[:_IN_A_LINE])
        more = len(self.objects) - _IN_A_LINE
        return shown if more <= 0 else f"{shown}, and {more} more"

    def draw(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a copy with the boxes drawn in, the best on top.

        Args:
            picture: ``(height, width, 3)`` uint8, RGB, of the photo's proportions.
        """
        canvas = picture.copy()
        for one in reversed(self.objects):
            left, top, right, bottom = one.box
            shares = (left / self.width, top / self.height, right / self.width, bottom / self.height)
            draw_box(canvas, shares, f"{one.name} {100 * one.score:.0f} %", color_of(one.index))
        return canvas


def _corners(one: Detection) -> str:
    return "[" + " ".join(f"{side:.0f}" for side in one.box) + "]"


class ObjectDetection(PictureTask):
    """Takes a photo; gives `Detections`.

    Boxes are in pixels of the photo as it was given; without its size (tensors of unknown origin) in those of the
    input tensor.

    Attributes:
        options: What the spec says of the head.
        head: Decodes the outputs.
    """

    name: ClassVar[str] = "object-detection"
    needs_context = True

    def __init__(self, spec: Spec, root: Path | None = None) -> None:
        super().__init__(spec, root)
        if "head" not in spec.options:
            raise SpecRefused(
                "an object detector without options.head",
                expected=" or ".join(HEADS),
                remedy="set head in the spec's [options], or use a preset such as --preset yolov8",
            )
        self.options = spec.options_as(DetectionOptions)
        self.head = HEADS[self.options.head](spec, self.options)

    def with_score(self, score: float) -> ObjectDetection:
        """Return the task with another threshold."""
        return ObjectDetection(self.spec.replace(options={**self.spec.options, "score": score}), self.root)

    def decode(self, outputs: Mapping[str, Array], contexts: Sequence[Any] | None = None) -> list[Detections]:
        """Return the `Detections` of each photo. Raises DataRefused for NaN in the outputs."""
        for name, array in outputs.items():
            if array.size and np.isnan(array.max()):
                raise DataRefused(f"output {name!r} holds NaN", expected="finite numbers")
        count = len(next(iter(outputs.values())))
        known = contexts if contexts is not None else [None] * count
        return [self._one(outputs, number, known[number]) for number in range(count)]

    def _one(self, outputs: Mapping[str, Array], number: int, size: PictureSize | None) -> Detections:
        sample = {name: array[number] for name, array in outputs.items()}
        found = self.found(sample, size)
        height, width = (size.height, size.width) if size else self.head.size
        names = self.spec.labels or ()
        listed = zip(found.boxes.tolist(), found.classes.tolist(), found.scores.tolist(), strict=True)
        return Detections(
            tuple(Detection(tuple(b), c, names[c] if 0 <= c < len(names) else str(c), s) for b, c, s in listed),
            width,
            height,
            self.options.score,
        )

    def found(self, sample: Mapping[str, Array], size: PictureSize | None) -> Candidates:
        """Return what is found in one photo, best first.

        Args:
            sample: Output name -> array of the photo, without the batch.
            size: Of the photo; ``None`` where unknown.

        Raises:
            DataRefused: A box above the threshold is not finite.
        """
        options = self.options
        given = self.head.candidates(sample, options.score)
        if not np.isfinite(given.boxes).all():
            raise DataRefused("the outputs hold a box that is not finite", expected="finite numbers")
        if self.head.final:
            order = np.argsort(-given.scores, kind="stable")[: options.max_detections]
        else:
            classes = None if options.agnostic else given.classes
            order = suppress(given.boxes, given.scores, classes, overlap=options.iou, limit=options.max_detections)
        photo = (size.height, size.width) if size else self.head.size
        how = self.preprocess if size else Preprocess()
        boxes = into_photo(given.boxes[order], photo, self.tensor, how)
        some = areas(boxes) > 0  # what lies in the letterbox's border, and boxes turned inside out
        order = order[some]
        return Candidates(boxes[some], np.minimum(given.scores[order], 1.0), given.classes[order])

    def scorer(self) -> Scorer:
        """Return a new scorer: shares of matched boxes, average precision."""
        from edgekit.tasks.detection_score import DetectionScorer

        return DetectionScorer(self)

    @classmethod
    def truth(cls, spec: Spec, raw: Any, where: str) -> Objects | None:
        """Read boxes; see `edgekit.tasks.detection_truth.objects`."""
        return objects(spec, raw, where)

    @classmethod
    def beside(cls, picture: Path) -> Path | None:
        """The YOLO text file of a photo."""
        return label_file(picture)
