"""Tabular models: a row in, a class or a value out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from edgekit.engine import Array
from edgekit.errors import DataRefused, SpecRefused
from edgekit.parity import Scorer
from edgekit.spec import Spec
from edgekit.tasks.classification import Classification, Label, class_number, probabilities, scores_output, sigmoid
from edgekit.tasks.row import RowTask
from edgekit.tasks.tabular_scores import ClassScorer, Value, ValueScorer


@dataclass(frozen=True)
class ClassificationOptions:
    """Options of `TabularClassification`.

    Attributes:
        threshold: For two classes: from this probability of class 1 on, 0..1, the decision is class 1.
        logits: For a single output: whether it is a logit, not a probability.
    """

    threshold: float = 0.5
    logits: bool = False

    def __post_init__(self) -> None:
        if (
            isinstance(self.threshold, bool)
            or not isinstance(self.threshold, (int, float))
            or not (0 < self.threshold < 1)
        ):
            raise SpecRefused(f"options.threshold = {self.threshold!r}", expected="between 0 and 1")
        if not isinstance(self.logits, bool):
            raise SpecRefused(f"options.logits = {self.logits!r}", expected="true or false")


class TabularClassification(RowTask):
    """Takes a row; gives a `Classification`, the decided class first.

    The model gives one score a class, or for two classes a single probability (or logit) of class 1.

    Attributes:
        top_k: Classes in a result.
        options: As the spec has them.
    """

    name: ClassVar[str] = "tabular-classification"

    def __init__(self, spec: Spec, root: Path | None = None) -> None:
        super().__init__(spec, root)
        self.options = spec.options_as(ClassificationOptions)
        self.output = self.decides = scores_output(spec)
        self.top_k = 5
        if self.options.threshold != 0.5 and not self.binary:
            raise SpecRefused(f"options.threshold for {self.classes} classes", expected="two classes")

    @property
    def classes(self) -> int | None:
        """Number of classes; ``None`` where the model's output does not say."""
        sizes = next(tensor.shape for tensor in self.spec.outputs if tensor.name == self.output)[1:]
        if None in sizes:
            return len(self.spec.labels) if self.spec.labels else None
        return max(2, math.prod(size for size in sizes if size is not None))

    @property
    def binary(self) -> bool:
        """Whether there are two classes."""
        return self.classes == 2

    def decode(self, outputs: Mapping[str, Array], contexts: Sequence[Any] | None = None) -> list[Classification]:
        """Return a `Classification` for each row."""
        shares = self.shares(outputs)
        order = np.argsort(-shares, axis=1, kind="stable")
        if self.binary:
            positive = shares[:, 1] >= self.options.threshold
            order = np.stack([positive, ~positive], axis=1).astype(int)
        names = self.spec.labels
        return [
            Classification(
                tuple(Label(int(i), names[i] if names else str(i), float(row[i])) for i in best[: self.top_k])
            )
            for row, best in zip(shares, order, strict=True)
        ]

    def shares(self, outputs: Mapping[str, Array]) -> Array:
        """Return the probabilities ``(batch, classes)``. Raises DataRefused for NaN, or one score outside 0..1."""
        scores = _finite(outputs, self.output)
        if scores.shape[1] == 1:
            if self.options.logits:
                scores = sigmoid(scores)
            elif scores.min() < -0.01 or scores.max() > 1.01:  # a quantized sigmoid may leave 0..1 by a step
                raise DataRefused(
                    f"output {self.output!r} is {float(scores.max()):.4g}",
                    expected="a probability, 0..1",
                    remedy="set logits = true in [options] if the model ends without a sigmoid",
                )
            scores = np.clip(scores, 0, 1)
        return probabilities(scores)

    def scorer(self) -> Scorer:
        """Decisions; AUC for two classes, accuracy for more."""
        return ClassScorer(self, binary=self.binary)

    @classmethod
    def truth(cls, spec: Spec, raw: Any, where: str) -> int | None:
        """Return a class number from a number or a name."""
        number = class_number(spec, raw, where)
        if number is not None and number > 1 and not spec.labels and _single(spec):
            raise DataRefused(f"{where}: class {raw!r}", expected="0 or 1 for a model with one score")
        return number


@dataclass(frozen=True)
class RegressionOptions:
    """Options of `TabularRegression`.

    Attributes:
        unit: Of the value.
        mean: Of the target in training, where the model was trained on ``(y - mean) / std``.
        std: As ``mean``.
    """

    unit: str = ""
    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.unit, str):
            raise SpecRefused(f"options.unit = {self.unit!r}", expected="text")
        for name in ("mean", "std"):
            number = getattr(self, name)
            if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number):
                raise SpecRefused(f"options.{name} = {number!r}", expected="a finite number")
        if self.std == 0:
            raise SpecRefused("options.std = 0", expected="the standard deviation of the target in training")


class TabularRegression(RowTask):
    """Takes a row; gives a `Value`, with the scaling of the target undone.

    Attributes:
        options: As the spec has them.
    """

    name: ClassVar[str] = "tabular-regression"

    def __init__(self, spec: Spec, root: Path | None = None) -> None:
        super().__init__(spec, root)
        self.options = spec.options_as(RegressionOptions)
        self.output = spec.outputs[0]
        if any(size not in (None, 1) for size in self.output.shape[1:]):
            raise SpecRefused(
                f"tabular-regression with output {self.output.name!r} of shape {list(self.output.shape)}",
                expected="one value a row",
                remedy="use --preset tensors for a model with several values",
            )

    def decode(self, outputs: Mapping[str, Array], contexts: Sequence[Any] | None = None) -> list[Value]:
        """Return a `Value` for each row. Raises DataRefused for NaN and infinity."""
        scaled = _finite(outputs, self.output.name)[:, 0].astype(np.float64)
        values: list[float] = (scaled * self.options.std + self.options.mean).tolist()
        return [Value(value, self.options.unit) for value in values]

    def scorer(self) -> Scorer:
        """How much of the original's variance the artifact keeps; root mean square error."""
        return ValueScorer(self)

    @classmethod
    def truth(cls, spec: Spec, raw: Any, where: str) -> float | None:
        """Return the number that a data set says."""
        if raw is None or raw == "":
            return None
        try:
            number = math.nan if isinstance(raw, bool) else float(raw)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise DataRefused(f"{where}: target {raw!r:.80}", expected="a finite number")
        return number


def _single(spec: Spec) -> bool:
    """Whether the scores are one probability, of class 1."""
    shape = next((tensor for tensor in spec.outputs if tensor.name == "logits"), spec.outputs[0]).shape
    return all(size == 1 for size in shape[1:])


def _finite(outputs: Mapping[str, Array], name: str) -> Array:
    """An output as ``(batch, values)`` float32. Raises DataRefused for NaN and infinity."""
    values = np.asarray(outputs[name], np.float32)
    values = values.reshape(len(values), -1)
    if not np.isfinite(values).all():
        raise DataRefused(
            f"output {name!r} holds NaN or infinity", expected="finite scores", remedy="check the row and the model"
        )
    return values
