"""Activation ranges from streaming statistics: fixed memory, independent of the order of the samples.

A histogram's bins are fixed before any data is seen: a float32 is filed by its sign, its exponent and the first
six bits of its mantissa. Counts are integers, so adding samples in any order gives the same histogram, and the
bins are 1.6 % wide at most, finer than the choice of a clipping threshold needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

import numpy as np

from edgekit.engine import Array
from edgekit.errors import DataRefused, UsageError

RangeRule = Literal["minmax", "percentile", "mse", "entropy"]

# Bits of a float32 that are kept: sign, 8 of exponent, 6 of mantissa; magnitudes below 2**-30 count as zero,
# above 2**34 into the last bin (min and max stay exact).
_SHIFT = 17
_LOWEST = (127 - 30) << 6
_BINS = 64 << 6
_SAMPLED = 32_768
# Attention masks hold numbers near float32's lowest, or -inf: they say "never" and are no part of a range.
MASKED = 1e30
_PERCENTILE = 99.99
_CANDIDATES = np.concatenate([np.linspace(0.3, 0.95, 27), np.linspace(0.96, 1.0, 9)])


@dataclass(frozen=True)
class Range:
    """Values of one tensor that its integer grid has to hold; always includes zero.

    Attributes:
        low: Smallest value, at most 0.
        high: Largest value, at least 0.
    """

    low: float
    high: float

    @property
    def width(self) -> float:
        """``high - low``."""
        return self.high - self.low

    def grid(self) -> tuple[float, int]:
        """Step and zero point of an unsigned 8-bit grid; zero is on it."""
        step = max(self.width, 1e-9) / 255
        return step, int(np.clip(np.rint(-self.low / step), 0, 255))


class TensorStatistics:
    """What is remembered of one tensor: exact minimum and maximum, and a histogram of 64 KiB.

    Attributes:
        minimum: Smallest value seen.
        maximum: Largest value seen.
        samples: Samples seen.
    """

    def __init__(self) -> None:
        self.minimum = np.inf
        self.maximum = -np.inf
        self.samples = 0
        self._lows = _Extremes()
        self._highs = _Extremes()
        self._positive = np.zeros(_BINS, np.int64)
        self._negative = np.zeros(_BINS, np.int64)
        self._zeros = 0

    def add(self, values: Array, name: str = "") -> None:
        """Count one sample's values (any shape, float32); see :meth:`RangeObserver.add`."""
        flat = values.reshape(-1)
        self.samples += 1
        if not flat.size:
            return
        low, high = float(flat.min()), float(flat.max())
        if np.isnan(low) or np.isnan(high):
            raise becomes_nan(name)
        if low < -MASKED or high > MASKED:
            flat = flat[np.abs(flat) <= MASKED]
            if not flat.size:
                return
            low, high = float(flat.min()), float(flat.max())
        self.minimum, self.maximum = min(self.minimum, low), max(self.maximum, high)
        self._lows.add(low)
        self._highs.add(high)
        self._count(_thinned(flat))

    def _count(self, flat: Array) -> None:
        code = np.ascontiguousarray(flat, np.float32).view(np.uint32) >> np.uint32(_SHIFT)
        magnitude = (code & np.uint32(0x3FFF)).astype(np.int32) - _LOWEST
        used = magnitude >= 0
        self._zeros += int(flat.size - used.sum())
        bins = np.minimum(magnitude, _BINS - 1) + _BINS * (code >> np.uint32(14)).astype(np.int32)
        counts = np.bincount(bins[used], minlength=2 * _BINS)
        self._positive += counts[:_BINS]
        self._negative += counts[_BINS:]

    def merge(self, other: TensorStatistics) -> None:
        """Take in what another has counted."""
        self.minimum, self.maximum = min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        self.samples += other.samples
        self._lows.merge(other._lows)
        self._highs.merge(other._highs)
        self._positive += other._positive
        self._negative += other._negative
        self._zeros += other._zeros

    def histogram(self) -> tuple[Array, Array]:
        """Centres of the used bins, ascending, and their counts; zeros in a bin of their own."""
        centres = _centres()
        values = np.concatenate([-centres[::-1], [0.0], centres])
        counts = np.concatenate([self._negative[::-1], [self._zeros], self._positive])
        used = counts > 0
        return np.clip(values[used], self.minimum, self.maximum), counts[used]

    def range(self, rule: RangeRule, *, levels: int = 256) -> Range:
        """Apply a rule.

        Args:
            rule: ``minmax``: every value seen; ``percentile``: the middle 99.99 %; ``mse``: the range that
                makes the mean squared error of rounding and clipping together smallest.
            levels: Steps of the integer grid: 256 for int8, 65536 for int16.

        Raises:
            UsageError: An unknown rule.
        """
        if rule not in get_args(RangeRule):
            raise UsageError(f"range rule {rule!r}", expected=" or ".join(get_args(RangeRule)))
        low, high = min(self.minimum, 0.0), max(self.maximum, 0.0)
        if rule == "minmax" or not high > low:
            return Range(low, high)
        values, counts = self.histogram()
        if rule == "percentile":
            return _percentile(values, counts, low, high)
        criterion = squared_error if rule == "mse" else divergence
        return _shrunk(criterion, values, counts, whole=Range(low, high), levels=levels)

    def typical(self, deviations: float) -> Range:
        """Mean over the samples of their smallest and largest value, and some standard deviations more.

        Args:
            deviations: How many; never beyond what was seen.
        """
        low = max(self._lows.mean - deviations * self._lows.deviation, self.minimum)
        high = min(self._highs.mean + deviations * self._highs.deviation, self.maximum)
        return Range(min(low, 0.0), max(high, 0.0))

    def quantile(self, tail: float) -> Range:
        """What is left when this part of all values is cut off, half of it at each end."""
        low, high = min(self.minimum, 0.0), max(self.maximum, 0.0)
        values, counts = self.histogram()
        return _percentile(values, counts, low, high, tail) if high > low else Range(low, high)


class _Extremes:
    """Mean and deviation of float32 numbers, summed exactly: in whichever order they come."""

    _UNIT = 2**149  # every float32 is a whole multiple of 2**-149

    def __init__(self) -> None:
        self._count, self._sum, self._squares = 0, 0, 0

    def add(self, value: float) -> None:
        """Take in a number."""
        numerator, denominator = float(np.float32(value)).as_integer_ratio()
        whole = numerator * (self._UNIT // denominator)
        self._count, self._sum, self._squares = self._count + 1, self._sum + whole, self._squares + whole * whole

    def merge(self, other: _Extremes) -> None:
        """Take in what another has summed up."""
        self._count, self._sum = self._count + other._count, self._sum + other._sum
        self._squares += other._squares

    @property
    def mean(self) -> float:
        """Mean, 0 of nothing."""
        return float(Fraction(self._sum, self._UNIT * self._count)) if self._count else 0.0

    @property
    def deviation(self) -> float:
        """Standard deviation."""
        if not self._count:
            return 0.0
        spread = Fraction(self._squares * self._count - self._sum**2, (self._UNIT * self._count) ** 2)
        return math.sqrt(float(spread))


def becomes_nan(name: str) -> DataRefused:
    """The error for an activation that is NaN on a calibration sample."""
    return DataRefused(
        f"tensor {name!r} becomes NaN on a calibration sample",
        expected="finite numbers",
        remedy="check the sample's scale and the float model",
    )


def _thinned(flat: Array) -> Array:
    """At most about 32,768 values, taken with an odd step that does not follow a channel count."""
    step = flat.size // _SAMPLED
    return flat if step < 2 else flat[:: step | 1]


def _centres() -> Array:
    codes = ((np.arange(_BINS, dtype=np.uint32) + _LOWEST) << np.uint32(_SHIFT)) | np.uint32(1 << (_SHIFT - 1))
    return codes.view(np.float32).astype(np.float64)


def _percentile(values: Array, counts: Array, low: float, high: float, tail: float = 1 - _PERCENTILE / 100) -> Range:
    cumulated = np.cumsum(counts)
    tail = tail / 2 * cumulated[-1]
    first = values[np.searchsorted(cumulated, tail)]
    last = values[min(np.searchsorted(cumulated, cumulated[-1] - tail), len(values) - 1)]
    return Range(max(low, min(float(first), 0.0)), min(high, max(float(last), 0.0)))


def _shrunk(
    criterion: Callable[[Array, Array, Range, int], float], values: Array, counts: Array, *, whole: Range, levels: int
) -> Range:
    """Shrink one end, then the other, twice: the error is nearly separable in the two."""
    best = whole
    for _ in range(2):
        for end in ("low", "high"):
            choices = [
                Range(whole.low * part, best.high) if end == "low" else Range(best.low, whole.high * part)
                for part in _CANDIDATES
            ]
            best = min(choices, key=lambda choice: (criterion(values, counts, choice, levels), -choice.width))
    return best


def squared_error(values: Array, counts: Array, choice: Range, levels: int) -> float:
    """Sum of squared errors when a histogram is stored on an integer grid.

    Where a bin is wider than the step, the error inside it is taken as uniform, step² / 12.

    Args:
        values: Bin centres, float64.
        counts: Bin counts.
        choice: Range of the grid; zero is on the grid.
        levels: Number of steps.
    """
    step = max(choice.width, 1e-30) / (levels - 1)
    clipped = np.clip(values, choice.low, choice.high)
    rounded = np.rint(clipped / step) * step
    wide = (np.abs(values) / 64 > step) & (values == clipped)
    error = np.where(wide, step * step / 12, (values - rounded) ** 2)
    return float(error @ counts)


def divergence(values: Array, counts: Array, choice: Range, levels: int) -> float:
    """Kullback-Leibler divergence of the stored values from the histogram, in nats.

    Migacz, "8-bit Inference with TensorRT" (2017), with the histogram's own bins: values beyond the range are
    counted at its ends, and a step's values are spread evenly over the bins that fall into it.

    Args:
        values: Bin centres, float64, ascending.
        counts: Bin counts.
        choice: Range of the grid.
        levels: Number of steps.
    """
    step = max(choice.width, 1e-30) / (levels - 1)
    inside = (values >= choice.low) & (values <= choice.high)
    if not inside.any():
        return float("inf")
    clipped = np.where(inside, counts, 0).astype(np.float64)
    first, last = np.flatnonzero(inside)[[0, -1]]
    reference = clipped.copy()
    reference[first] += counts[:first].sum()
    reference[last] += counts[last + 1 :].sum()
    steps = np.rint(np.clip(values, choice.low, choice.high) / step).astype(np.int64)
    steps -= steps.min()
    mass, bins = np.bincount(steps, clipped), np.bincount(steps, inside)
    stored = np.where(inside, mass[steps] / np.maximum(bins[steps], 1), 0.0)
    p, q = reference / reference.sum(), stored / stored.sum()
    held = (p > 0) & (q > 0)
    return float((p[held] * np.log(p[held] / q[held])).sum())


class RangeObserver:
    """Statistics of all activations of a graph.

    Attributes:
        tensors: Tensor name -> its statistics.
    """

    def __init__(self) -> None:
        self.tensors: dict[str, TensorStatistics] = {}

    def add(self, activations: Mapping[str, Array]) -> None:
        """Count one sample's activations: tensor name -> float32 array.

        Raises:
            DataRefused: An activation is NaN: the sample drives the model out of its range.
        """
        for name, values in activations.items():
            self.tensors.setdefault(name, TensorStatistics()).add(values, name)

    def merge(self, other: RangeObserver) -> None:
        """Take in what another has counted."""
        for name, statistics in other.tensors.items():
            self.tensors.setdefault(name, TensorStatistics()).merge(statistics)

    def ranges(self, rule: RangeRule, *, levels: int = 256) -> dict[str, Range]:
        """Range of every tensor seen."""
        return {name: statistics.range(rule, levels=levels) for name, statistics in self.tensors.items()}
