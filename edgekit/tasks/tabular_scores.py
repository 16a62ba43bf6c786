"""What classes and values of rows are worth: AUC, accuracy, root mean square error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit.engine import Array
from edgekit.metrics import Estimate, Metric, Proportion, bootstrapped
from edgekit.tasks.base import ResultScorer, Task
from edgekit.tasks.classification import Classification


@dataclass(frozen=True)
class Value:
    """A number.

    Attributes:
        value: In its unit.
        unit: Its unit; empty for none.
    """

    value: float
    unit: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"value": self.value, "unit": self.unit} if self.unit else {"value": self.value}

    def __str__(self) -> str:
        return f"{self.value:.6g} {self.unit}".rstrip()


class ClassScorer(ResultScorer):
    """Compares decisions, and with truths AUC or accuracy.

    Args:
        task: Decodes.
        binary: Whether there are two classes.
    """

    def __init__(self, task: Task, *, binary: bool) -> None:
        super().__init__(task)
        self._binary = binary
        self._samples = self._agree = 0
        self._truths: list[int] = []
        self._decided: tuple[list[int], list[int]] = ([], [])
        self._scores: tuple[list[float], list[float]] = ([], [])

    def add(self, want: Classification, got: Classification, truth: int | None) -> None:
        """Take a pair of results and the class number."""
        self._samples += 1
        self._agree += want.best.index == got.best.index
        if truth is None:
            return
        self._truths.append(truth)
        for side, result in enumerate((want, got)):
            self._decided[side].append(result.best.index)
            self._scores[side].append(sum(label.score for label in result.labels if label.index == 1))

    def missing(self, want: Classification, truth: int | None) -> None:
        """Count a disagreement, and the worst answer there is."""
        self._samples += 1
        if truth is not None:
            self._truths.append(truth)
            for side, index, score in ((0, want.best.index, want.best.score), (1, -1, float(truth == 0))):
                self._decided[side].append(index)
                self._scores[side].append(score)

    def agreement(self) -> Metric | None:
        """Rows on which both decide alike."""
        return Proportion(self._agree, self._samples, "decision agreement") if self._samples else None

    def metrics(self) -> tuple[Metric, Metric] | None:
        """AUC for two classes that both occur, otherwise accuracy."""
        if not self._truths:
            return None
        truths = np.array(self._truths)
        if self._binary and 0 < truths.sum() < len(truths):
            original, artifact = (_auc_estimate(truths, np.array(scores)) for scores in self._scores)
            return original, artifact
        right = [int((truths == decided).sum()) for decided in map(np.array, self._decided)]
        return Proportion(right[0], len(truths)), Proportion(right[1], len(truths))


def auc(truths: Array, scores: Array) -> float:
    """Area under the ROC curve: how often a row of class 1 scores higher than one of class 0, ties counting half.

    Mann and Whitney 1947, Annals of Mathematical Statistics 18:50.

    Args:
        truths: ``(rows,)``, 0 or 1.
        scores: ``(rows,)``, higher for class 1.

    Returns:
        0..1; NaN when a class does not occur.
    """
    levels = np.unique(scores, return_inverse=True)[1]
    return _auc_of_levels(levels, np.asarray(truths, np.float64))


def _auc_of_levels(levels: Array, truths: Array) -> float:
    ones = np.bincount(levels, weights=truths)
    zeros = np.bincount(levels, weights=1 - truths)
    pairs = ones.sum() * zeros.sum()
    if not pairs:
        return math.nan
    return float(ones @ (np.cumsum(zeros) - zeros / 2) / pairs)


def _auc_estimate(truths: Array, scores: Array) -> Estimate:
    levels, known = np.unique(scores, return_inverse=True)[1], truths.astype(np.float64)
    return bootstrapped("AUC", len(known), lambda drawn: _auc_of_levels(levels[drawn], known[drawn]))


class ValueScorer(ResultScorer):
    """Compares values.

    Args:
        task: Decodes.
    """

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self._pairs: list[tuple[float, float]] = []
        self._known: list[tuple[float, float, float]] = []

    def add(self, want: Value, got: Value, truth: float | None) -> None:
        """Take a pair of values and the true one."""
        self._pairs.append((want.value, got.value))
        if truth is not None:
            self._known.append((want.value, got.value, truth))

    def missing(self, want: Value, truth: float | None) -> None:
        """Take the artifact for infinitely wrong."""
        self._pairs.append((want.value, math.inf))
        if truth is not None:
            self._known.append((want.value, math.inf, truth))

    def agreement(self) -> Metric | None:
        """R² of the artifact's values as a prediction of the original's; ``None`` where those are all alike."""
        if not self._pairs:
            return None
        want, got = np.array(self._pairs).T
        if np.ptp(want) == 0:
            return None
        return bootstrapped("R2 to the original", len(want), lambda drawn: r2(want[drawn], got[drawn]))

    def metrics(self) -> tuple[Metric, Metric] | None:
        """Root mean square error."""
        if not self._known:
            return None
        want, got, truth = np.array(self._known).T
        original, artifact = (_rmse_estimate(truth, values) for values in (want, got))
        return original, artifact


def rmse(truths: Array, values: Array) -> float:
    """Root mean square error of ``(rows,)`` values."""
    return float(np.sqrt(np.mean((values - truths) ** 2)))


def r2(truths: Array, values: Array) -> float:
    """Coefficient of determination of ``(rows,)`` values, at most 1; NaN where the truths are all alike."""
    spread = float(((truths - truths.mean()) ** 2).sum())
    return 1 - float(((values - truths) ** 2).sum()) / spread if spread else math.nan


def _rmse_estimate(truths: Array, values: Array) -> Estimate:
    return bootstrapped(
        "RMSE", len(truths), lambda drawn: rmse(truths[drawn], values[drawn]), higher_is_better=False, share=False
    )
