"""Heads whose boxes are relative to places in the input: FCOS, and SSD with and without its post-processing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from edgekit.engine import Array
from edgekit.errors import DataRefused, SpecRefused
from edgekit.spec import Spec, TensorSpec
from edgekit.tasks.anchors import anchors_for
from edgekit.tasks.boxes import from_centres
from edgekit.tasks.classification import sigmoid
from edgekit.tasks.detection_heads import Candidates, Head, softmax
from edgekit.tasks.detection_options import DetectionOptions, Shape, check_labels, output_for

_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "softmax": softmax,
    "sigmoid": sigmoid,
    "none": lambda logits: logits,
}
_MOST_GROWTH = math.log(1000 / 16)  # torchvision's bound: larger boxes than 62.5 times their anchor are noise


class Fcos(Head):
    """Distances ``(N, 4)`` left, top, right, bottom, class logits ``(N, C)``, maybe centerness logits ``(N, 1)``.

    The locations of all levels follow each other, each level row by row. The score is the geometric mean of class and
    centerness (Tian et al. 2019, arXiv:1904.01355, as in its published code); without centerness the class alone.
    """

    activation = "sigmoid"
    multi_label = True

    def __init__(self, spec: Spec, options: DetectionOptions) -> None:
        super().__init__(spec, options)
        self.boxes = output_for(spec, "boxes", options.boxes, lambda shape: len(shape) == 2 and shape[1] == 4)
        others = [output for output in spec.outputs if output is not self.boxes]
        self.centerness: TensorSpec | None = None
        if options.centerness is not None or len(others) > 1:
            self.centerness = output_for(spec, "centerness", options.centerness, _is_column, among=others)
            others = [output for output in others if output is not self.centerness]
        self.scores = output_for(spec, "scores", options.scores, lambda shape: len(shape) == 2, among=others)
        check_labels(spec, self.scores.shape[2])
        self.centres, self.stride = _locations(self.size, options)
        count = self.boxes.shape[1]
        if count is not None and count != len(self.centres):
            raise SpecRefused(
                f"{count} locations in output {self.boxes.name!r}",
                expected=f"{len(self.centres)} for an input of {self.size[0]} x {self.size[1]} and strides "
                f"{list(options.strides)}",
                remedy="set options.strides",
            )

    def candidates(self, outputs: Mapping[str, Array], threshold: float) -> Candidates:
        """Return the boxes whose score is above a threshold."""
        logits = outputs[self.scores.name]
        if self.centerness is None:
            at, classes, scores = self.best(logits, threshold)
        else:
            factor = sigmoid(outputs[self.centerness.name].reshape(-1))
            at, classes, product = self.best(logits, threshold * threshold, factor)
            scores = np.sqrt(product)
        distances = outputs[self.boxes.name][at].astype(np.float64)
        if self.options.distances == "strides":
            distances = distances * self.stride[at, None]
        centres = self.centres[at]
        return Candidates(
            np.concatenate([centres - distances[:, :2], centres + distances[:, 2:]], axis=1), scores, classes
        )


class Ssd(Head):
    """Encodings ``(N, 4)`` relative to anchors and class logits ``(N, C + 1)``, of which the first is background.

    With torchvision's anchors an encoding is x, y, width, height and classes share by softmax; with TensorFlow's it is
    y, x, height, width and each class has a sigmoid.
    """

    multi_label = True

    def __init__(self, spec: Spec, options: DetectionOptions) -> None:
        super().__init__(spec, options)
        self.boxes = output_for(spec, "boxes", options.boxes, lambda shape: len(shape) == 2 and shape[1] == 4)
        others = [output for output in spec.outputs if output is not self.boxes]
        self.scores = output_for(spec, "scores", options.scores, lambda shape: len(shape) == 2, among=others)
        channels = self.scores.shape[2]
        check_labels(spec, None if channels is None else channels - 1)
        self.anchors = anchors_for(options, self.size)
        self._rows_first = options.anchors == "tensorflow"
        if options.activation is None:
            self._activation = "sigmoid" if self._rows_first else "softmax"
        count = self.boxes.shape[1]
        if count is not None and count != len(self.anchors):
            raise SpecRefused(
                f"{count} boxes in output {self.boxes.name!r}",
                expected=f"{len(self.anchors)}, one for each anchor",
                remedy="set options.feature_maps and options.aspect_ratios as the model was trained with",
            )

    def candidates(self, outputs: Mapping[str, Array], threshold: float) -> Candidates:
        """Return the boxes whose score is above a threshold."""
        logits = outputs[self.scores.name]
        shares = _ACTIVATIONS[self._activation](logits)[:, 1:]
        if self._multi:
            at, classes = np.nonzero(shares > threshold)
        else:
            at = np.flatnonzero(shares.max(axis=1) > threshold)
            classes = shares[at].argmax(axis=1)
        said = outputs[self.boxes.name][at].astype(np.float64)
        said = (said[:, [1, 0, 3, 2]] if self._rows_first else said) * np.array(self.options.variances)
        anchors = self.anchors[at]
        centres = said[:, :2] * anchors[:, 2:] + anchors[:, :2]
        sides = np.exp(np.minimum(said[:, 2:], _MOST_GROWTH)) * anchors[:, 2:]
        height, width = self.size
        boxes = from_centres(np.concatenate([centres, sides], axis=1)) * np.array([width, height] * 2)
        return Candidates(boxes, shares[at, classes], classes)


class SsdPostprocessed(Head):
    """What TFLite's ``TFLite_Detection_PostProcess`` gives: boxes ``(N, 4)`` top, left, bottom, right as shares,
    class numbers ``(N,)``, scores ``(N,)`` and the number of boxes.

    Attributes:
        names: Role (boxes, classes, scores, count) -> output name.
    """  # noqa: D205  the shapes belong into one sentence

    final = True
    normalised = True
    _STANDARD = ("TFLite_Detection_PostProcess", *(f"TFLite_Detection_PostProcess:{n}" for n in (1, 2, 3)))

    def __init__(self, spec: Spec, options: DetectionOptions) -> None:
        super().__init__(spec, options)
        names = {output.name for output in spec.outputs}
        roles = ("boxes", "classes", "scores", "count")
        standard: dict[str, str | None] = dict(zip(roles, self._STANDARD, strict=True))
        if not names >= set(self._STANDARD):
            standard = {role: _called(spec, role) for role in roles}
        fits: dict[str, Callable[[Shape], bool]] = {
            "boxes": _is_boxes,
            "classes": _is_row,
            "scores": _is_row,
            "count": lambda shape: shape in ((), (1,)),
        }
        self.names: dict[str, str] = {}
        for role, fit in fits.items():
            if role == "count" and len(spec.outputs) == 3 and options.count is None:
                continue  # some exporters leave it out: empty places have a score of 0
            among = [output for output in spec.outputs if output.name not in self.names.values()]
            name = getattr(options, role) or standard[role]
            self.names[role] = output_for(spec, role, name, fit, among=among).name

    def candidates(self, outputs: Mapping[str, Array], threshold: float) -> Candidates:
        """Return the boxes whose score is above a threshold."""
        scores = outputs[self.names["scores"]]
        filled = len(scores)
        if "count" in self.names:
            filled = round(float(outputs[self.names["count"]].reshape(-1)[0]))
            if not 0 <= filled <= len(scores):
                raise DataRefused(f"a detector that says {filled} boxes", expected=f"0 to {len(scores)}")
        at = np.flatnonzero(scores[:filled] > threshold)
        boxes = outputs[self.names["boxes"]][at][:, [1, 0, 3, 2]].astype(np.float64)
        classes = np.rint(outputs[self.names["classes"]][at]).astype(np.int64)
        return Candidates(self.in_pixels(boxes), scores[at], classes)


def _locations(size: tuple[int, int], options: DetectionOptions) -> tuple[Array, Array]:
    """Centres ``(N, 2)`` in pixels, and the stride of each."""
    centres, strides = [], []
    for stride in options.strides:
        rows, columns = np.mgrid[0 : -(-size[0] // stride), 0 : -(-size[1] // stride)]
        centres.append((np.stack([columns, rows], axis=-1).reshape(-1, 2) + options.cell_offset) * stride)
        strides.append(np.full(rows.size, stride, np.float64))
    return np.concatenate(centres), np.concatenate(strides)


def _called(spec: Spec, role: str) -> str | None:
    """Name of the only output that is called like its role."""
    stem = {"boxes": "box", "classes": "class", "scores": "score", "count": "num"}[role]
    found = [output.name for output in spec.outputs if stem in output.name.lower()]
    return found[0] if len(found) == 1 else None


def _is_column(shape: Shape) -> bool:
    return len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)


def _is_row(shape: Shape) -> bool:
    return len(shape) == 1 and shape[0] != 1


def _is_boxes(shape: Shape) -> bool:
    return len(shape) == 2 and shape[1] == 4
