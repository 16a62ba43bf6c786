"""Parity: how close an artifact is to the original.

Numerically per output (relative L2, cosine, largest error), by agreement of the answers (classes, boxes, masks,
spans), and on the user's metric (accuracy, mAP, mIoU, F1, …) where the truth is known. The numbers are accumulated
batch by batch in fixed memory; what agrees and what is right is the task's to say, through a `Scorer`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from edgekit.engine import Array
from edgekit.errors import QualityError
from edgekit.metrics import Metric, Proportion, metric_from_dict, points_lost


@dataclass(frozen=True)
class OutputParity:
    """Numerical parity of one output over all samples.

    Attributes:
        name: Output name in the spec.
        relative_l2: ``||artifact - original|| / ||original||``; inf when the artifact gave NaN or inf.
        cosine: Cosine of the angle between the two, 1 = same direction.
        max_error: Largest absolute difference.
    """

    name: str
    relative_l2: float
    cosine: float
    max_error: float


@dataclass(frozen=True)
class Parity:
    """How close an artifact is to the original.

    Attributes:
        samples: Number of samples.
        outputs: Numerical parity of each output.
        agreement: How often the artifact answers as the original does; ``None`` for tasks that answer nothing.
        metric: The user's metric of the artifact, where the truth is known.
        reference_metric: The same of the original.
    """

    samples: int
    outputs: tuple[OutputParity, ...]
    agreement: Metric | None = None
    metric: Metric | None = None
    reference_metric: Metric | None = None

    @property
    def worst(self) -> OutputParity:
        """The output with the largest relative L2."""
        return max(self.outputs, key=lambda output: output.relative_l2)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; ``from_dict`` reads it back."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Parity:
        """Read the JSON form."""
        metrics = {key: metric_from_dict(raw[key]) for key in ("agreement", "metric", "reference_metric") if key in raw}
        outputs = tuple(OutputParity(**output) for output in raw["outputs"])
        return cls(samples=raw["samples"], outputs=outputs, **metrics)


@dataclass
class _Sums:
    """Running sums of one output, in float64."""

    error: float = 0.0
    reference: float = 0.0
    candidate: float = 0.0
    product: float = 0.0
    largest: float = 0.0
    finite: bool = True

    def add(self, reference: Array, candidate: Array) -> None:
        if reference.shape != candidate.shape:
            self.finite = False
            return
        want, got = reference.astype(np.float64).ravel(), candidate.astype(np.float64).ravel()
        same = (want == got) | (np.isnan(want) & np.isnan(got))
        # Where both are the same infinity or NaN (masked logits), the answer is right; the sums leave it out.
        want, got = (np.where(same & ~np.isfinite(want), 0.0, side) for side in (want, got))
        if not (np.isfinite(want).all() and np.isfinite(got).all()):
            self.finite = False
            return
        difference = got - want
        self.error += float(difference @ difference)
        self.reference += float(want @ want)
        self.candidate += float(got @ got)
        self.product += float(want @ got)
        self.largest = max(self.largest, float(np.abs(difference).max(initial=0.0)))

    def result(self, name: str) -> OutputParity:
        if not self.finite:
            return OutputParity(name, math.inf, 0.0, math.inf)
        if self.reference == 0.0:
            relative = 0.0 if self.error == 0.0 else math.inf
            return OutputParity(name, relative, 1.0 if relative == 0.0 else 0.0, self.largest)
        norm = math.sqrt(self.reference * self.candidate)
        cosine = self.product / norm if norm else 0.0
        return OutputParity(name, math.sqrt(self.error / self.reference), min(1.0, cosine), self.largest)


class Scorer(ABC):
    """Compares the answers of an artifact with the original's and with the truth. A task makes one for each artifact.

    Everything is given in pairs of original and artifact.
    """

    @abstractmethod
    def update(
        self,
        reference: Mapping[str, Array],
        candidate: Mapping[str, Array],
        truths: Sequence[Any] | None = None,
        contexts: Sequence[Any] | None = None,
    ) -> None:
        """Add a batch, or all windows of one input.

        Args:
            reference: Output name -> the original's array, batch first.
            candidate: Output name -> the artifact's array, batch first.
            truths: What is right for each input, ``None`` where unknown.
            contexts: What the task's ``encode`` said of each input; ``None`` for made-up inputs.
        """

    @abstractmethod
    def agreement(self) -> Metric | None:
        """How often both answer alike; ``None`` when nothing could be compared."""

    @abstractmethod
    def metrics(self) -> tuple[Metric, Metric] | None:
        """The user's metric of the original and of the artifact; ``None`` without truths."""


class DecisionScorer(Scorer):
    """For tasks that decide between classes: the same class, the right class.

    Args:
        output: Output whose largest entry along the last axis is the decision.
    """

    def __init__(self, output: str) -> None:
        self._output = output
        self._samples = self._agree = self._labelled = self._right = self._reference_right = 0

    def update(
        self,
        reference: Mapping[str, Array],
        candidate: Mapping[str, Array],
        truths: Sequence[Any] | None = None,
        contexts: Sequence[Any] | None = None,  # scores need none
    ) -> None:
        """Add a batch; truths are class numbers."""
        want, got = decision(reference[self._output]), decision(candidate[self._output])
        self._samples += len(want)
        self._agree += int((want == got).sum())
        for index, label in enumerate(truths or ()):
            if label is not None:
                self._labelled += 1
                self._right += int(got[index] == label)
                self._reference_right += int(want[index] == label)

    def agreement(self) -> Metric | None:
        """Samples on which both decide alike."""
        return Proportion(self._agree, self._samples, "top-1 agreement")

    def metrics(self) -> tuple[Metric, Metric] | None:
        """Accuracy."""
        if not self._labelled:
            return None
        return Proportion(self._reference_right, self._labelled), Proportion(self._right, self._labelled)


@dataclass
class ParityMeter:
    """Compares batch by batch.

    Args:
        scorer: Compares the answers; ``None`` where only numbers can be compared.
    """

    scorer: Scorer | None = None
    _sums: dict[str, _Sums] = field(default_factory=dict)
    _samples: int = 0

    def update(
        self,
        reference: Mapping[str, Array],
        candidate: Mapping[str, Array],
        truths: Sequence[Any] | None = None,
        contexts: Sequence[Any] | None = None,
    ) -> None:
        """Add a batch, or all windows of one input; the arguments are those of `Scorer.update`."""
        for name, want in reference.items():
            self._sums.setdefault(name, _Sums()).add(np.asarray(want), np.asarray(candidate[name]))
        self._samples += len(next(iter(reference.values())))
        if self.scorer is not None:
            self.scorer.update(reference, candidate, truths, contexts)

    def result(self) -> Parity:
        """Return the parity of everything added so far."""
        outputs = tuple(sums.result(name) for name, sums in self._sums.items())
        if self.scorer is None:
            return Parity(self._samples, outputs)
        original, artifact = self.scorer.metrics() or (None, None)
        return Parity(self._samples, outputs, self.scorer.agreement(), artifact, original)


def decision(scores: Array) -> Array:
    """Class decided for each sample: index of the largest score, or ``score > 0.5`` for a single probability.

    Args:
        scores: ``(batch, classes)`` or ``(batch, 1)``; further axes of size 1 are ignored.

    Returns:
        ``(batch,)`` integers.
    """
    flat = np.asarray(scores).reshape(len(scores), -1)
    if flat.shape[1] == 1:
        return (flat[:, 0] > 0.5).astype(np.int64)
    best: Array = flat.argmax(axis=1)
    return best


AGREEMENT_PER_POINT = 5.0
"""Points of agreement that may be lost for each point of accuracy, when there are no labels.

Disagreements go both ways and fall on samples where the original itself is unsure; over the networks and
quantizers measured for this project the loss of agreement was 2 to 5 times the loss of accuracy.
"""
INTEGER_COSINE = 0.98


@dataclass(frozen=True)
class Gate:
    """What an artifact must reach to be published.

    Attributes:
        max_relative_l2: For float recipes, per output.
        max_drop: For integer recipes: points of the user's metric that may be lost, see `points_lost`; without truths
            ``AGREEMENT_PER_POINT`` times as many points of agreement.
        min_cosine: For integer recipes where answers cannot be compared, per output.
    """

    max_relative_l2: float | None = None
    max_drop: float | None = None
    min_cosine: float | None = None

    @classmethod
    def for_recipe(cls, recipe: str, *, max_drop: float = 1.0) -> Gate:
        """Return the default gate of a recipe."""
        if recipe in ("fp32", "fp16"):
            return cls(max_relative_l2=1e-4 if recipe == "fp32" else 1e-2)
        return cls(max_drop=max_drop, min_cosine=INTEGER_COSINE)

    def failure(self, parity: Parity) -> str | None:
        """Return why the parity does not reach the gate, or ``None`` when it does."""
        worst = parity.worst
        if not math.isfinite(worst.relative_l2):
            return f"output {worst.name!r} is not finite or has another shape"
        if self.max_relative_l2 is not None and worst.relative_l2 > self.max_relative_l2:
            return f"output {worst.name!r} has relative L2 {worst.relative_l2:.3g}, allowed {self.max_relative_l2:g}"
        if self.max_drop is not None and (parity.agreement is not None or parity.metric is not None):
            return _dropped(parity, self.max_drop)
        if self.min_cosine is not None:
            least = min(parity.outputs, key=lambda output: output.cosine)
            if least.cosine < self.min_cosine:
                return f"output {least.name!r} has cosine {least.cosine:.4f}, needed {self.min_cosine:g}"
        return None

    def check(self, parity: Parity, artifact: str) -> None:
        """Raise QualityError when the parity does not reach the gate."""
        reason = self.failure(parity)
        if reason is not None:
            raise QualityError(
                f"{artifact}: {reason}",
                remedy="more or better calibration data, another recipe, --max-drop, or --allow-degraded",
            )


def _dropped(parity: Parity, max_drop: float) -> str | None:
    if parity.metric is not None and parity.reference_metric is not None:
        drop = points_lost(parity.reference_metric, parity.metric)
        if drop > max_drop + 1e-9:
            change = "dropped" if parity.metric.higher_is_better else "rose"
            return f"{parity.metric.name} {change} by {drop:.2f} points, allowed {max_drop:g}"
    elif parity.agreement is not None:
        lost = 100 * (1 - parity.agreement.value)
        allowed = max_drop * AGREEMENT_PER_POINT
        if lost > allowed + 1e-9:
            return f"agreement is {100 - lost:.1f} %, needed {100 - allowed:g} %"
    return None
