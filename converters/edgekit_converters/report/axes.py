"""Axes of the drawings: limits and ticks at round numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

_TICKS = 5


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
    return Axis(label, axis.low, axis.high, start, end, ticks)


def decades(label: str, values: Iterable[float], *, start: float, end: float) -> Axis:
    """A logarithmic axis from one power of ten to another; values of 0 lie at its low end."""
    positive = [value for value in values if value > 0] or [1e-6, 1.0]
    first, last = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
    last = max(last, first + 1)
    axis = Axis(label, 10.0**first, 10.0**last, start, end, logarithmic=True)
    step = max(1, round((last - first) / _TICKS))
    ticks = tuple(Tick(axis.place(10.0**power), f"1e{power}") for power in range(first, last + 1, step))
    return Axis(label, axis.low, axis.high, start, end, ticks, logarithmic=True)


def _round_step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= least * (1 - 1e-9))
