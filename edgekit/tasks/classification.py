"""What image and text classification share: scores to classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edgekit.engine import Array
from edgekit.errors import DataRefused, SpecRefused
from edgekit.spec import Spec

_CLASSIFICATIONS = (
    "image-classification",
    "text-classification",
    "audio-classification",
    "keyword-spotting",
    "tabular-classification",
)


@dataclass(frozen=True)
class Label:
    """One class.

    Attributes:
        index: Class number.
        name: Class name, or the number as text without labels.
        score: Probability 0..1.
    """

    index: int
    name: str
    score: float


@dataclass(frozen=True)
class Classification:
    """The most probable classes, best first.

    Attributes:
        labels: Classes.
    """

    labels: tuple[Label, ...]

    @property
    def best(self) -> Label:
        """The most probable class."""
        return self.labels[0]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"labels": [asdict(label) for label in self.labels]}

    def __str__(self) -> str:
        return ", ".join(f"{label.name} {100 * label.score:.1f} %" for label in self.labels)


def scores_output(spec: Spec) -> str:
    """Name of the output that holds the scores: the first, or the one called ``logits``.

    Raises:
        SpecRefused: The number of labels is not the number of scores.
    """
    output = next((output for output in spec.outputs if output.name == "logits"), spec.outputs[0])
    classes = [size for size in output.shape[1:] if size != 1]
    if spec.labels and classes and classes != [len(spec.labels)]:
        raise SpecRefused(
            f"{len(spec.labels)} labels for output {output.name!r} of shape {list(output.shape)}",
            expected="one label for each class",
            remedy="pass the matching --labels file, one name a line",
        )
    return output.name


def probabilities(scores: Array) -> Array:
    """Turn logits into probabilities; scores that already are probabilities stay as they are.

    Args:
        scores: ``(batch, classes)``; further axes of size 1 are ignored. One class: a probability.

    Returns:
        ``(batch, classes)`` float32 that sum to 1; for one score ``(batch, 2)``.
    """
    flat = np.asarray(scores, np.float32).reshape(len(scores), -1)
    if flat.shape[1] == 1:
        return np.concatenate([1 - flat, flat], axis=1)
    sums = flat.sum(axis=1)
    # A quantized softmax sums to 1 only within its grid, 1/256 a class in the worst case.
    if flat.min() >= 0 and flat.max() <= 1.01 and np.all(np.abs(sums - 1) < 0.05):
        return flat
    powers = np.exp(flat - flat.max(axis=1, keepdims=True))
    shares: Array = powers / powers.sum(axis=1, keepdims=True)
    return shares


def sigmoid(values: Array) -> Array:
    """Logistic function, without overflow."""
    shares: Array = 0.5 * (1 + np.tanh(0.5 * values))
    return shares


def classify(outputs: Mapping[str, Array], spec: Spec, output: str, top_k: int) -> list[Classification]:
    """Decode scores into the best classes of each sample."""
    shares = probabilities(outputs[output])
    order = np.argsort(-shares, axis=1, kind="stable")[:, :top_k]
    names = spec.labels
    return [
        Classification(
            tuple(Label(int(i), names[i] if names else str(i), float(row[i])) for i in best),
        )
        for row, best in zip(shares, order, strict=True)
    ]


def class_number(spec: Spec, raw: Any, where: str) -> int | None:
    """Return the class that a data set's label names, as a number or by name; ``None`` for no label.

    Args:
        spec: With labels, or with outputs that say how many classes there are.
        raw: The label.
        where: For messages.

    Raises:
        DataRefused: There is no such class.
    """
    if raw is None or raw == "":
        return None
    names = spec.labels or ()
    if str(raw) in names:
        return names.index(str(raw))
    try:
        number = int(raw)
    except (TypeError, ValueError):
        number = -1
    classes = next((size for size in (spec.outputs[0].shape[1:] if spec.outputs else ()) if size), None)
    limit = len(names) or classes
    if number < 0 or (limit is not None and limit > 1 and number >= limit):
        raise DataRefused(
            f"{where}: label {raw!r}",
            expected=f"a class number 0..{limit - 1}" if limit else "a class number",
            remedy="pass the class names with --labels, one a line, if labels are names",
        )
    return number


def deciding_output(spec: Spec) -> str | None:
    """Name of the output whose largest entry is the decision; ``None`` for tasks that decide between no classes."""
    if spec.task == "audio-classification" and spec.options.get("multi_label"):
        return None
    if spec.task in _CLASSIFICATIONS or (spec.task == "tensors" and spec.labels):
        return scores_output(spec)
    return None
