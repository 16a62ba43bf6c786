"""Metrics on labelled data, with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit.engine import Array


@dataclass(frozen=True)
class Proportion:
    """A share of successes.

    Attributes:
        successes: How many.
        total: Of how many.
        name: What is counted, e.g. ``accuracy``.
    """

    successes: int
    total: int
    name: str = "accuracy"

    @property
    def value(self) -> float:
        """The share, 0..1; NaN of nothing."""
        return self.successes / self.total if self.total else math.nan

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Wilson score interval (Wilson 1927, JASA 22:209), 0..1."""
        from statistics import NormalDist  # 5 ms with fractions and decimal, which a run on a board never needs

        if not self.total:
            return 0.0, 1.0
        z = NormalDist().inv_cdf(0.5 + confidence / 2)
        n, p = self.total, self.value
        centre = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        # At 0 and 1 the formula ends exactly there; rounding must not push the bound past the value itself.
        low = 0.0 if self.successes == 0 else max(0.0, centre - half)
        high = 1.0 if self.successes == self.total else min(1.0, centre + half)
        return low, high

    @property
    def counts(self) -> str:
        """Successes of total, in words."""
        return f"{self.successes} of {self.total}"

    @property
    def share(self) -> bool:
        """Whether it lies between 0 and 1."""
        return True

    @property
    def higher_is_better(self) -> bool:
        """Whether more is better."""
        return True

    def __str__(self) -> str:
        return _shown(self)


@dataclass(frozen=True)
class Estimate:
    """A metric that is no share of successes: mAP, mIoU, F1, word error rate, perplexity.

    Attributes:
        name: As the field calls it, e.g. ``mAP50``.
        value: Over all samples.
        low: Lower end of the 95 % interval.
        high: Upper end.
        samples: Number of samples.
        higher_is_better: ``False`` for errors.
        share: Whether it lies between 0 and 1: a point is a hundredth. Otherwise a point is one percent of the
            original's value.
    """

    name: str
    value: float
    low: float
    high: float
    samples: int
    higher_is_better: bool = True
    share: bool = True

    @property
    def total(self) -> int:
        """Number of samples."""
        return self.samples

    @property
    def counts(self) -> str:
        """The value and the number of samples, in words."""
        return f"{100 * self.value:.1f} % on {self.samples}" if self.share else f"{self.value:.4g} on {self.samples}"

    def interval(self) -> tuple[float, float]:
        """95 % interval."""
        return self.low, self.high

    def __str__(self) -> str:
        return _shown(self)


Metric = Proportion | Estimate
"""Something measured, with its interval."""


def metric_from_dict(raw: dict[str, Any]) -> Metric:
    """Read the JSON form that `dataclasses.asdict` gives."""
    return Proportion(**raw) if "successes" in raw else Estimate(**raw)


def points_lost(original: Metric, artifact: Metric) -> float:
    """How much worse the artifact is, in points: hundredths of a share, otherwise percent of the original's value."""
    loss = original.value - artifact.value if original.higher_is_better else artifact.value - original.value
    if original.share:
        return 100 * loss
    return 100 * loss / abs(original.value) if original.value else (math.inf if loss > 0 else 0.0)


def bootstrapped(
    name: str,
    samples: int,
    statistic: Callable[[Array], float],
    *,
    higher_is_better: bool = True,
    share: bool = True,
    resamples: int = 400,
) -> Estimate:
    """An `Estimate` whose interval is the percentile bootstrap's (Efron 1979, Annals of Statistics 7:1).

    Args:
        name: Of the metric.
        samples: Number of samples.
        statistic: Value over samples given by their indices ``(samples,)``, with repetitions.
        higher_is_better: As in `Estimate`.
        share: As in `Estimate`.
        resamples: How often samples are drawn anew; the draws are the same every time.
    """
    value = statistic(np.arange(samples))
    draws = np.random.default_rng(0).integers(0, samples, (resamples, samples))
    found = np.array([statistic(draw) for draw in draws], np.float64)
    found = found[np.isfinite(found)]
    low, high = np.percentile(found, [2.5, 97.5]).tolist() if len(found) else (value, value)
    return Estimate(name, float(value), min(low, value), max(high, value), samples, higher_is_better, share)


def _shown(metric: Metric) -> str:
    low, high = metric.interval()
    factor, digits = (100, ".1f") if metric.share else (1, ".4g")
    return f"{factor * metric.value:{digits}} ({factor * low:{digits}}-{factor * high:{digits}})"
