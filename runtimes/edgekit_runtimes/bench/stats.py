"""What is said about measured times: pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STEADY_TOLERANCE = 0.05
"""Two windows of runs whose medians differ by no more than this share are steady."""

ROUNDS = 10
"""Processes in which two artifacts are compared."""

RESAMPLES = 10_000

_TAIL = 0.00856
"""Share beyond each end of the interval. For ten rounds 0.025 would make it too narrow: it is the normal tail beyond
sqrt(10/9) times the t quantile 2.262."""

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
        ratio: Median of A over median of B, geometric mean over rounds; above 1, A is slower.
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


def compare_rounds(rounds: Sequence[tuple[Sequence[float], Sequence[float]]], seed: int = 0) -> Ratio:
    """Return the ratio of medians over rounds, with an expanded percentile bootstrap interval (Hesterberg, 2015).

    Two copies of one artifact in one process can differ by several per cent for as long as they live, by where their
    memory lies. Every round is therefore a process of its own, and rounds are what is resampled.

    Args:
        rounds: Times of A and of B in each of `ROUNDS` rounds, measured in turn.
        seed: Of the resampling.

    Raises:
        ValueError: Not that many rounds, or one without pairs.
    """
    if len(rounds) != ROUNDS or not all(len(a) == len(b) > 0 for a, b in rounds):
        raise ValueError(f"not {ROUNDS} rounds of pairs")
    logs = np.array([np.log(np.median(a) / np.median(b)) for a, b in rounds])
    chosen = np.random.default_rng(seed).integers(ROUNDS, size=(RESAMPLES, ROUNDS))
    low, high = np.percentile(logs[chosen].mean(axis=1), (100 * _TAIL, 100 - 100 * _TAIL))
    ratio, low, high = (float(value) for value in np.exp([logs.mean(), low, high]))
    return Ratio(ratio, low, high, sum(len(a) for a, _ in rounds))
