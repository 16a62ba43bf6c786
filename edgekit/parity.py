"""Parity: how close an artifact is to the original.

Numerically per output (relative L2, cosine, largest error), by agreement of the decided class, and on the
user's metric (accuracy) when labels are given. Everything is accumulated batch by batch in fixed memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from edgekit.engine import Array
from edgekit.errors import QualityError
from edgekit.metrics import Proportion


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
        agreement: Samples on which the artifact decides as the original does; classification tasks only.
        accuracy: Labelled samples that the artifact gets right.
        reference_accuracy: Labelled samples that the original gets right.
    """

    samples: int
    outputs: tuple[OutputParity, ...]
    agreement: Proportion | None = None
    accuracy: Proportion | None = None
    reference_accuracy: Proportion | None = None

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
        shares = {key: Proportion(**raw[key]) for key in ("agreement", "accuracy", "reference_accuracy") if key in raw}
        outputs = tuple(OutputParity(**output) for output in raw["outputs"])
        return cls(samples=raw["samples"], outputs=outputs, **shares)


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


@dataclass
class ParityMeter:
    """Compares batch by batch.

    Args:
        decides: Output whose largest entry along the last axis is the decision; ``None`` for other tasks.
    """

    decides: str | None = None
    _sums: dict[str, _Sums] = field(default_factory=dict)
    _samples: int = 0
    _agree: int = 0
    _right: int = 0
    _reference_right: int = 0
    _labelled: int = 0

    def update(
        self,
        reference: Mapping[str, Array],
        candidate: Mapping[str, Array],
        labels: Sequence[int | None] | None = None,
    ) -> None:
        """Add a batch.

        Args:
            reference: Output name -> the original's array, batch first.
            candidate: Output name -> the artifact's array, batch first.
            labels: Class of each sample, ``None`` where unknown.
        """
        for name, want in reference.items():
            self._sums.setdefault(name, _Sums()).add(np.asarray(want), np.asarray(candidate[name]))
        self._samples += len(next(iter(reference.values())))
        if self.decides is None:
            return
        want, got = decision(reference[self.decides]), decision(candidate[self.decides])
        self._agree += int((want == got).sum())
        for index, label in enumerate(labels or ()):
            if label is not None:
                self._labelled += 1
                self._right += int(got[index] == label)
                self._reference_right += int(want[index] == label)

    def result(self) -> Parity:
        """Return the parity of everything added so far."""
        outputs = tuple(sums.result(name) for name, sums in self._sums.items())
        agreement = Proportion(self._agree, self._samples) if self.decides is not None else None
        if not self._labelled:
            return Parity(self._samples, outputs, agreement)
        return Parity(
            self._samples,
            outputs,
            agreement,
            Proportion(self._right, self._labelled),
            Proportion(self._reference_right, self._labelled),
        )


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
        max_drop: For integer recipes: points of accuracy (0..100) that may be lost; without labels
            ``AGREEMENT_PER_POINT`` times as many points of agreement.
        min_cosine: For integer recipes of tasks that decide nothing, per output.
    """

    max_relative_l2: float | None = None
    max_drop: float | None = None
    min_cosine: float | None = None

    @classmethod
    def for_recipe(cls, recipe: str, *, decides: bool, max_drop: float = 1.0) -> Gate:
        """Return the default gate of a recipe."""
        if recipe in ("fp32", "fp16"):
            return cls(max_relative_l2=1e-4 if recipe == "fp32" else 1e-2)
        return cls(max_drop=max_drop) if decides else cls(min_cosine=INTEGER_COSINE)

    def failure(self, parity: Parity) -> str | None:
        """Return why the parity does not reach the gate, or ``None`` when it does."""
        worst = parity.worst
        if not math.isfinite(worst.relative_l2):
            return f"output {worst.name!r} is not finite or has another shape"
        if self.max_relative_l2 is not None and worst.relative_l2 > self.max_relative_l2:
            return f"output {worst.name!r} has relative L2 {worst.relative_l2:.3g}, allowed {self.max_relative_l2:g}"
        if self.min_cosine is not None:
            least = min(parity.outputs, key=lambda output: output.cosine)
            if least.cosine < self.min_cosine:
                return f"output {least.name!r} has cosine {least.cosine:.4f}, needed {self.min_cosine:g}"
        return None if self.max_drop is None else _dropped(parity, self.max_drop)

    def check(self, parity: Parity, artifact: str) -> None:
        """Raise QualityError when the parity does not reach the gate."""
        reason = self.failure(parity)
        if reason is not None:
            raise QualityError(
                f"{artifact}: {reason}",
                remedy="more or better calibration data, another recipe, --max-drop, or --allow-degraded",
            )


def _dropped(parity: Parity, max_drop: float) -> str | None:
    if parity.accuracy is not None and parity.reference_accuracy is not None:
        drop = 100 * (parity.reference_accuracy.value - parity.accuracy.value)
        if drop > max_drop + 1e-9:
            return f"accuracy dropped by {drop:.2f} points, allowed {max_drop:g}"
    elif parity.agreement is not None:
        lost = 100 * (1 - parity.agreement.value)
        allowed = max_drop * AGREEMENT_PER_POINT
        if lost > allowed + 1e-9:
            return f"agreement is {100 - lost:.1f} %, needed {100 - allowed:g} %"
    return None
