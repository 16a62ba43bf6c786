"""Axes of the drawings: limits and ticks at round numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

_TICKS, _MOST_TICKS = 5, 8
_DECADE = 10.0
"""Ratio of the largest to the smallest value from which on an axis is logarithmic."""


@dataclass(frozen=True)
class Tick:
    """A mark of an axis.

    Attributes:
        at: Where, in units of the drawing.
        text: What it says.
    """

    at: float
    text: str


@dataclass(frozen=True)
class Axis:
    """Turns values into places.

    Attributes:
        label: Quantity and unit.
        low: Value at ``start``.
        high: Value at ``end``.
        start: Place in units of the drawing.
        end: Place in units of the drawing.
        ticks: Marks.
        logarithmic: Whether equal ratios are equal distances.
    """

    label: str
    low: float
    high: float
    start: float
    end: float
    ticks: tuple[Tick, ...] = ()
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Where a value lies, in units of the drawing."""
        low, high = self.low, self.high
        if self.logarithmic:
            value, low, high = math.log10(max(value, low)), math.log10(low), math.log10(high)
        return round(self.start + (self.end - self.start) * (value - low) / (high - low), 2)


def linear(
    label: str,
    values: Iterable[float],
    *,
    start: float,
    end: float,
    text: Callable[[float], str] = "{:g}".format,
    zero: bool = False,
    most: float = math.inf,
) -> Axis:
    """An axis that holds all values.

    Args:
        label: Quantity and unit.
        values: At least one, finite.
        start: Place of its low end.
        end: Place of its high end.
        text: Words of a tick.
        zero: Whether it begins at 0.
        most: The axis ends here at the latest.
    """
    listed = list(values)
    low, high = (0.0 if zero else min(listed)), max(listed)
    if high - low < 1e-9 * max(1.0, abs(high)):
        pad = max(abs(high) * 0.05, 1e-6)
        low, high = (low if zero else low - pad), high + pad
    step = _round_step((high - low) / _TICKS)
    low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    count = round((high - low) / step)
    axis = Axis(label, low, min(high, most) if most > low else high, start, end)
    marks = [float(f"{low + number * step:.12g}") for number in range(count + 1)]
    ticks = tuple(Tick(axis.place(mark), text(mark)) for mark in marks if mark <= axis.high + 1e-12)
    return replace(axis, ticks=ticks)


def logarithmic(
    label: str,
    values: Iterable[float],
    *,
    start: float,
    end: float,
    text: Callable[[float], str] = "{:g}".format,
) -> Axis:
    """An axis on which equal ratios are equal distances; values of 0 lie at its low end.

    Args:
        label: Quantity and unit.
        values: At least one, none negative.
        start: Place of its low end.
        end: Place of its high end.
        text: Words of a tick.
    """
    positive = [value for value in values if value > 0] or [1.0]
    low, high = _one_two_five(min(positive), math.floor), _one_two_five(max(positive), math.ceil)
    if low == high:
        low = _one_two_five(low / 1.5, math.floor)
    axis = Axis(label, low, high, start, end, logarithmic=True)
    ticks = tuple(Tick(axis.place(mark), text(mark)) for mark in _marks(low, high))
    return replace(axis, ticks=ticks)


def spans_decades(values: Iterable[float]) -> bool:
    """Whether values are so far apart that the small ones could not be told on a linear axis."""
    listed = list(values)
    return min(listed) > 0 and max(listed) >= _DECADE * min(listed)


def _one_two_five(value: float, rounded: Callable[[float], int]) -> float:
    """The next of 1, 2, 5, 10, 20, 50, … by ``math.floor`` or ``math.ceil``."""
    power = math.floor(math.log10(value) + 1e-12)
    steps = [float(f"{factor}e{power}") for factor in (1, 2, 5, 10)]
    if rounded is math.floor:
        return max(step for step in steps if step <= value * (1 + 1e-9))
    return min(step for step in steps if step >= value * (1 - 1e-9))


def _marks(low: float, high: float) -> list[float]:
    """Numbers 1, 2, 5 of each power of ten, or where they are too many whole powers, each or every few."""
    first, last = math.floor(math.log10(low) + 1e-12), math.ceil(math.log10(high) - 1e-12)
    every = max(1, math.ceil((last - first) / _MOST_TICKS))
    choices: tuple[tuple[range, tuple[int, ...]], ...] = (
        (range(first, last + 1), (1, 2, 5)),
        (range(first, last + 1, every), (1,)),
    )
    for powers, factors in choices:
        marks = [float(f"{factor}e{power}") for power in powers for factor in factors]
        marks = [mark for mark in marks if low * (1 - 1e-9) <= mark <= high * (1 + 1e-9)]
        if len(marks) <= _MOST_TICKS:
            break
    return marks


def _round_step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= least * (1 - 1e-9))
