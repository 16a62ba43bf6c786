"""What is said about measured times: pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STEADY_TOLERANCE = 0.05
"""Two windows of runs whose medians differ by no more than this share are steady."""

RESAMPLES = 2000

Seconds = NDArray[np.float64]


@dataclass(frozen=True)
class Latency:
    """Steady latency of one configuration, in milliseconds.

    Attributes:
        count: Number of timed runs.
        minimum: Fastest run.
        mean: Arithmetic mean.
        p50: Median.
        p90: 90th percentile.
        p99: 99th percentile; with fewer than 100 runs it is close to the slowest.
    """

    count: int
    minimum: float
    mean: float
    p50: float
    p90: float
    p99: float

    @property
    def per_second(self) -> float:
        """Runs per second, one after another."""
        return 1000 / self.mean


@dataclass(frozen=True)
class Ratio:
    """How the latency of A relates to that of B, called in turn.

    Attributes:
        ratio: Median of A over median of B; above 1, A is slower.
        low: Lower end of the 95 % bootstrap interval.
        high: Upper end.
        pairs: Number of pairs.
    """

    ratio: float
    low: float
    high: float
    pairs: int

    @property
    def verdict(self) -> str:
        """``A is faster``, ``B is faster`` or ``no difference``: the interval holds 1."""
        if self.low <= 1 <= self.high:
            return "no difference"
        return "A is faster" if self.high < 1 else "B is faster"


def summarize(seconds: Sequence[float] | Seconds) -> Latency:
    """Return the summary of times in seconds.

    Raises:
        ValueError: There are none.
    """
    times = np.asarray(seconds, dtype=np.float64) * 1000
    if not times.size:
        raise ValueError("no times to summarize")
    p50, p90, p99 = (float(value) for value in np.percentile(times, (50, 90, 99)))
    return Latency(times.size, float(times.min()), float(times.mean()), p50, p90, p99)


def is_steady(seconds: Sequence[float], window: int = 10) -> bool:
    """Whether the last runs are about as fast as the ones before them.

    Args:
        seconds: Times in order.
        window: Runs in each of the two windows compared; half of the runs where there are fewer than two windows.
    """
    size = min(window, len(seconds) // 2)
    if size == 0:
        return False
    last, before = np.median(seconds[-size:]), np.median(seconds[-2 * size : -size])
    return bool(abs(last - before) <= STEADY_TOLERANCE * before)


def compare_pairs(a: Sequence[float] | Seconds, b: Sequence[float] | Seconds, seed: int = 0) -> Ratio:
    """Return the ratio of medians with a percentile bootstrap interval over pairs (Efron, 1979).

    Pairs are resampled as they were measured, so that a drift of the machine, which meets both, cancels out.

    Args:
        a: Times of A; its entry i was measured beside entry i of ``b``.
        b: Times of B.
        seed: Of the resampling.

    Raises:
        ValueError: Not as many times of A as of B, or none.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.size != second.size or not first.size:
        raise ValueError(f"{first.size} and {second.size} times, not pairs")
    generator = np.random.default_rng(seed)
    ratios = np.empty(RESAMPLES)
    for number in range(RESAMPLES):
        chosen = generator.integers(first.size, size=first.size)
        ratios[number] = np.median(first[chosen]) / np.median(second[chosen])
    low, high = np.percentile(ratios, (2.5, 97.5))
    return Ratio(float(np.median(first) / np.median(second)), float(low), float(high), first.size)
