"""Sizes and times as people write them, and as they read them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from edgekit.errors import UsageError

BYTES: Mapping[str, float] = {
    "B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1024.0, "MiB": 1024.0**2, "GiB": 1024.0**3,
}  # fmt: skip
"""Unit -> bytes."""
MILLISECONDS: Mapping[str, float] = {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}
"""Unit -> milliseconds."""
_AMOUNT = re.compile(r"([+-]?[0-9.,]+(?:e[+-]?[0-9]+)?)\s*([^0-9]*)", re.IGNORECASE)


def parse_size(text: str, *, given: str, example: str = "5MB") -> float:
    """Bytes of ``5MB``, ``800 kB`` or ``2.5mib``; kB and MB are powers of ten, as files are listed.

    Args:
        text: A number and a unit, in capitals or not.
        given: What the user typed, for the error.
        example: A good one, for the error.

    Raises:
        UsageError: No number, no unit, or another one.
    """
    return parse_amount(text, BYTES, given=given, example=example)


def parse_time(text: str, *, given: str, example: str = "20ms") -> float:
    """Milliseconds of ``20ms``, ``0.5 s`` or ``250us``; arguments and errors as of `parse_size`."""
    return parse_amount(text, MILLISECONDS, given=given, example=example)


def parse_amount(text: str, units: Mapping[str, float], *, given: str, example: str) -> float:
    """A number with its unit, in what ``units`` leads to; arguments and errors as of `parse_size`."""
    match = _AMOUNT.fullmatch(text.strip())
    try:
        number = float(match[1]) if match else math.nan
    except ValueError:
        number = math.nan
    if match is None or not math.isfinite(number):
        raise UsageError(f"{given} holds no number", expected=f"a number with a unit, e.g. {example}")
    unit = match[2].strip()
    factor = {name.casefold(): value for name, value in units.items()}.get(unit.casefold())
    if factor is None:
        received = f"the unit {unit!r}" if unit else "no unit"
        raise UsageError(f"{given} has {received}", expected=f"one of {', '.join(units)}, e.g. {example}")
    if not math.isfinite(number * factor):
        raise UsageError(f"{given} holds no number", expected=f"a number with a unit, e.g. {example}")
    return number * factor


def megabytes(count: float) -> str:
    """Bytes as megabytes (10^6) with two decimals, or kilobytes below one tenth of one."""
    return f"{count / 1e6:.2f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def digits(milliseconds: float) -> str:
    """A time with three digits and without its unit, for columns; four decimals below one tenth."""
    if milliseconds < 0.1:
        return f"{milliseconds:.4f}"
    return f"{milliseconds:.3g}" if milliseconds < 100 else f"{milliseconds:.0f}"
