"""What a variant may cost: ``latency=20ms,size=5MB,memory=150MB,drop=1%``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from edgekit.errors import UsageError
from edgekit.units import BYTES, MILLISECONDS, parse_amount

_MEGABYTES = {unit: count / 1e6 for unit, count in BYTES.items()}
_UNITS: Mapping[str, Mapping[str, float]] = {
    "latency": MILLISECONDS,
    "size": _MEGABYTES,
    "memory": _MEGABYTES,
    "drop": {"%": 1.0, "points": 1.0},
}
_FIELDS = {"latency": "latency_ms", "size": "size_mb", "memory": "memory_mb", "drop": "drop_points"}
_EXAMPLES = {"latency": "latency=20ms", "size": "size=5MB", "memory": "memory=150MB", "drop": "drop=1%"}
_SAID = {"latency_ms": "ms", "size_mb": "MB", "memory_mb": "MB", "drop_points": "points"}
_FORM = "AXIS=NUMBER UNIT, apart by commas, e.g. latency=20ms,size=5MB,memory=150MB,drop=1%"


@dataclass(frozen=True)
class Budget:
    """The most that a variant may cost; ``None`` leaves an axis free.

    Attributes:
        latency_ms: Median milliseconds of one inference.
        size_mb: Megabytes (10^6 bytes) of the artifact.
        memory_mb: Megabytes of the whole process at its peak: Python, edgekit, engine and model.
        drop_points: Points of the user's metric that may be lost against the original.
    """

    latency_ms: float | None = None
    size_mb: float | None = None
    memory_mb: float | None = None
    drop_points: float | None = None

    def __str__(self) -> str:
        """For people, e.g. ``latency 20 ms, drop 1 points``."""
        return ", ".join(f"{key.partition('_')[0]} {value:g} {_SAID[key]}" for key, value in self.to_dict().items())

    def to_dict(self) -> dict[str, float]:
        """Return the JSON form: only the axes that are bounded."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def parse_budget(text: str) -> Budget:
    """Read a budget.

    Args:
        text: ``AXIS=NUMBER UNIT``, apart by commas; axes are latency, size, memory and drop.

    Raises:
        UsageError: An unknown axis, one given twice, no number, no unit or another one, or what nothing can fit.
    """
    found: dict[str, float] = {}
    for part in text.split(","):
        axis, separator, value = part.strip().partition("=")
        if not separator:
            raise UsageError(f"--budget {text!r}: {part.strip()!r}", expected=_FORM)
        if axis not in _UNITS:
            raise UsageError(f"--budget: {axis!r} is no axis", expected=", ".join(_UNITS))
        if _FIELDS[axis] in found:
            raise UsageError(f"--budget: {axis} is given twice", expected="each axis once")
        found[_FIELDS[axis]] = _amount(axis, value.strip())
    return Budget(**found)


def _amount(axis: str, text: str) -> float:
    number = parse_amount(text, _UNITS[axis], given=f"--budget: {axis}={text}", example=_EXAMPLES[axis])
    if number < 0 or (number == 0 and axis != "drop"):
        raise UsageError(f"--budget: {axis}={text}, which nothing can fit", expected="a number above 0")
    return number
