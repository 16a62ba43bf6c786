"""Heads that say boxes themselves: YOLO v5, v8 and v10, FastestDet, DETR.

A head turns the outputs for one photo into candidates. Scores are compared with the threshold first; only what passes
is decoded further.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgekit.engine import Array
from edgekit.errors import SpecRefused
from edgekit.spec import Spec, TensorSpec
from edgekit.tasks.boxes import Boxes, from_centres
from edgekit.tasks.classification import sigmoid
from edgekit.tasks.detection_options import (
    Activation,
    DetectionOptions,
    check_labels,
    only_output,
    output_for,
    shapes_of,
)


@dataclass(frozen=True)
class Candidates:
    """Boxes above a threshold.

    Attributes:
        boxes: ``(count, 4)`` left, top, right, bottom in pixels of the input tensor.
        scores: ``(count,)`` 0..1.
        classes: ``(count,)`` class numbers.
    """

    boxes: Boxes
    scores: Array
    classes: Array


class Head(ABC):
    """Decodes the outputs of one family.

    Args:
        spec: With outputs.
        options: Of the task.

    Attributes:
        final: Whether the model has already left duplicates out.
    """

    final: ClassVar[bool] = False
    activation: ClassVar[Activation] = "none"
    multi_label: ClassVar[bool] = False
    normalised: ClassVar[bool] = False

    def __init__(self, spec: Spec, options: DetectionOptions) -> None:
        self.spec = spec
        self.options = options
        self.size = spec.inputs[0].height_width
        height, width = self.size
        normalised = self.normalised if options.normalised is None else options.normalised
        self._unit = np.array([width, height] * 2, np.float64) if normalised else np.ones(4)
        self._multi = self.multi_label if options.multi_label is None else options.multi_label
        self._activation = options.activation or self.activation

    @abstractmethod
    def candidates(self, outputs: Mapping[str, Array], threshold: float) -> Candidates:
        """Return the boxes whose score is above a threshold.

        Args:
            outputs: Output name -> array of one photo, without the batch.
            threshold: 0..1.
        """

    def best(self, scores: Array, threshold: float, factor: Array | None = None) -> tuple[Array, Array, Array]:
        """Return places, classes and scores above a threshold.

        Args:
            scores: ``(places, classes)``, before the activation.
            threshold: 0..1.
            factor: ``(places,)`` 0..1 that scores are multiplied by.
        """
        if self._activation == "softmax":
            scores = softmax(scores)
        sigmoid_after = self._activation == "sigmoid"
        most = largest(scores)
        if sigmoid_after:
            most = sigmoid(most)
        rows = np.flatnonzero((most if factor is None else most * factor) > threshold)
        passed = scores[rows]
        if not self._multi:
            values = most[rows] if factor is None else most[rows] * factor[rows]
            return rows, passed.argmax(axis=1), values
        passed = sigmoid(passed) if sigmoid_after else passed
        passed = passed if factor is None else passed * factor[rows, None]
        at, classes = np.nonzero(passed > threshold)
        return rows[at], classes, passed[at, classes]

    def in_pixels(self, boxes: Boxes) -> Boxes:
        """Boxes as the model says them in pixels of the input."""
        return boxes * self._unit


class YoloV5(Head):
    """``(N, 5 + C)``: centre, size, objectness, classes; the score is objectness times class."""

    def __init__(self, spec: Spec, options: DetectionOptions) -> None:
        super().__init__(spec, options)
        self.output = only_output(spec, options.head, 2)
        channels = self.output.shape[2]
        check_labels(spec, None if channels is None else channels - 5)

    def candidates(self, outputs: Mapping[str, Array], threshold: float) -> Candidates:
        """Return the boxes whose score is above a threshold."""
        rows = outputs[self.output.name]
        passed = rows[rows[:, 4] > threshold]  # no score is larger than its objectness
        at, classes, scores = self.best(passed[:, 5:], threshold, passed[:, 4])
        return Candidates(self.in_pixels(from_centres(passed[at, :4])), scores, classes)


class YoloV8(Head):
    """``(4 + C, N)`` or ``(N, 4 + C)``: centre, size, classes; or boxes and scores as two outputs."""

    def __init__(self, spec: Spec, options: DetectionOptions) -> None:
        super().__init__(spec, options)
        self._parts: tuple[tuple[str, bool], ...]
        if len(spec.outputs) == 1:
            output = only_output(spec, options.head, 2)
            wanted = 4 + len(spec.labels) if spec.labels else None
            self._parts = ((output.name, _channels_first(spec, output, wanted)),)
            return
        boxes = output_for(spec, "boxes", options.boxes, lambda shape: len(shape) == 2 and 4 in shape)
        others = [output for output in spec.outputs if output is not boxes]
        scores = output_for(spec, "scores", options.scores, lambda shape: len(shape) == 2, among=others)
        self._parts = (
            (boxes.name, _channels_first(spec, boxes, 4)),
            (scores.name, _channels_first(spec, scores, len(spec.labels) if spec.labels else None)),
        )

    def candidates(self, outputs: Mapping[str, Array], threshold: float) -> Candidates:
        """Return the boxes whose score is above a threshold."""
        arrays = [outputs[name].T if first else outputs[name] for name, first in self._parts]
        places, scores = arrays if len(arrays) == 2 else (arrays[0][:, :4], arrays[0][:, 4:])
        at, classes, values = self.best(scores, threshold)
        return Candidates(self.in_pixels(from_centres(places[at])), values, classes)


class YoloV10(Head):
    """``(N, 6)``: corners, score, class, without duplicates."""

    final = True

    def __init__(self, spec: Spec, options: DetectionOptions) -> None:
        super().__init__(spec, options)
        self.output = only_output(spec, options.head, 2)
        if self.output.shape[2] not in (None, 6):
            raise SpecRefused(f"head {options.head!r} with outputs {shapes_of(spec)}", expected="an output (N, 6)")

    def candidates(self, outputs: Mapping[str, Array], threshold: float) -> Candidates:
        """Return the boxes whose score is above a threshold."""
        rows = outputs[self.output.name]
        passed = rows[rows[:, 4] > threshold]
        boxes = passed[:, :4].astype(np.float64)
        return Candidates(self.in_pixels(boxes), passed[:, 4], np.rint(passed[:, 5]).astype(np.int64))


class FastestDet(Head):
    """A feature map of objectness, box and classes, with probabilities (https://github.com/dog-qiuqiu/FastestDet).

    The centre is the cell's corner plus ``tanh`` of the first two numbers, in cells; width and height are ``sigmoid``
    of the others, as shares of the input.
    """

    def __init__(self, spec: Spec, options: DetectionOptions) -> None:
        super().__init__(spec, options)
        self.output = only_output(spec, options.head, 3)
        first, _, last = self.output.shape[1:]
        wanted = None if not spec.labels else 5 + len(spec.labels)
        if wanted is not None and wanted not in (first, last):
            check_labels(spec, (first or 5) - 5)
        self._last = _is_last(spec, self.output, wanted)

    def candidates(self, outputs: Mapping[str, Array], threshold: float) -> Candidates:
        """Return the boxes whose score is above a threshold."""
        cells = outputs[self.output.name]
        cells = cells if self._last else np.moveaxis(cells, 0, 2)
        rows, columns, channels = cells.shape
        flat = cells.reshape(rows * columns, channels)
        at, classes, scores = self.best(flat[:, 5:], threshold, flat[:, 0])
        said = flat[at, 1:5].astype(np.float64)
        corner = np.stack([at % columns, at // columns], axis=1)
        centres = (np.tanh(said[:, :2]) + corner) / (columns, rows)
        boxes = from_centres(np.concatenate([centres, sigmoid(said[:, 2:])], axis=1))
        return Candidates(_scaled(boxes, self.size), scores, classes)


class Detr(Head):
    """Class logits ``(queries, C + 1)``, the last for no object, and boxes ``(queries, 4)`` as shares.

    With ``activation = "sigmoid"`` (Deformable DETR, RT-DETR) there is no class for no object.
    """

    final = True
    activation = "softmax"
    normalised = True

    def __init__(self, spec: Spec, options: DetectionOptions) -> None:
        super().__init__(spec, options)
        self.boxes = output_for(spec, "boxes", options.boxes, lambda shape: len(shape) == 2 and shape[1] == 4)
        others = [output for output in spec.outputs if output is not self.boxes]
        self.logits = output_for(spec, "scores", options.scores, lambda shape: len(shape) == 2, among=others)
        self._no_object = self._activation == "softmax"
        channels = self.logits.shape[2]
        check_labels(spec, None if channels is None else channels - self._no_object)

    def candidates(self, outputs: Mapping[str, Array], threshold: float) -> Candidates:
        """Return the boxes whose score is above a threshold."""
        logits = outputs[self.logits.name]
        if self._no_object:
            shares = softmax(logits)[:, :-1]
            most = shares.max(axis=1)
            at = np.flatnonzero(most > threshold)
            classes, scores = shares[at].argmax(axis=1), most[at]
        else:
            at, classes, scores = self.best(logits, threshold)
        return Candidates(self.in_pixels(from_centres(outputs[self.boxes.name][at])), scores, classes)


def softmax(values: Array) -> Array:
    """Softmax along the last axis."""
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    shares: Array = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def largest(scores: Array) -> Array:
    """Largest score of each place, ``(places, classes)`` to ``(places,)``."""
    best: Array = scores.max(axis=1) if scores.shape[1] else np.zeros(len(scores), np.float32)
    return best


def _scaled(boxes: Boxes, size: tuple[int, int]) -> Boxes:
    """Shares of the input to its pixels."""
    return boxes * np.array([size[1], size[0]] * 2, np.float64)


def _channels_first(spec: Spec, output: TensorSpec, wanted: int | None) -> bool:
    """Whether the first of two dimensions counts channels, of which there are ``wanted`` or else the fewer."""
    first, second = output.shape[1:]
    if wanted is not None and first != second and wanted in (first, second):
        return first == wanted
    if wanted is not None and None not in (first, second) and first != second:
        check_labels(spec, min(first or 0, second or 0) - wanted + len(spec.labels or ()))
    if first is None or second is None or first == second:
        raise SpecRefused(
            f"output {output.name!r} of shape {list(output.shape)}: either dimension could count the boxes",
            expected="fixed and different dimensions, or labels that say how many classes there are",
            remedy="pass --labels, or export the model with fixed shapes",
        )
    return first < second


def _is_last(spec: Spec, output: TensorSpec, wanted: int | None) -> bool:
    """Whether the last of three dimensions counts channels: as many as wanted, or the one that differs."""
    first, middle, last = output.shape[1:]
    if wanted is not None and first != last:
        return last == wanted
    if middle in (first, last) and first != last and None not in (first, last):
        return first == middle
    raise SpecRefused(
        f"output {output.name!r} of shape {list(output.shape)}: the first or the last dimension could be channels",
        expected="labels that say how many classes there are",
        remedy="pass --labels",
    )
