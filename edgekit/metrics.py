"""Metrics on labelled data, with intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Proportion:
    """A share of successes.

    Attributes:
        successes: How many.
        total: Of how many.
    """

    successes: int
    total: int

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
