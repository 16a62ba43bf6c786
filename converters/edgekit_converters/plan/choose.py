"""The choice: what fits, what is on the Pareto front, why the others lost. Pure functions."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from edgekit_converters.plan.budget import Budget
from edgekit_converters.plan.variants import Miss, Variant

PREFERENCES = ("latency", "drop", "size", "memory")
"""The axes in the order in which they count where others are equal."""
_NOISE = math.log(1.05)
"""Times and memory are compared in steps of 5 %: so much differs from one measurement to the next."""
_UNITS = {
    "latency": "ms",
    "size": "MB",
    "memory": "MB",
    "drop": "points",
    "agreement": "%",
    "parity": "relative L2",
    "cosine": "at the worst output",
}
_LOOSEN = {"latency": "latency={:.3g}ms", "size": "size={:.3g}MB", "memory": "memory={:.4g}MB", "drop": "drop={:.3g}%"}
Costs = tuple[float, float, float, float]


@dataclass(frozen=True)
class Choice:
    """What came of a plan.

    Attributes:
        chosen: The best variant that fits; ``None`` when nothing does.
        front: Names of the variants that no other one beats on every axis.
        misses: Name -> axes beyond the budget.
        why: Name -> one sentence.
    """

    chosen: Variant | None
    front: frozenset[str]
    misses: dict[str, tuple[Miss, ...]]
    why: dict[str, str]


def choose(variants: Sequence[Variant], budget: Budget, prefer: str = "latency") -> Choice:
    """Pick the best variant that fits.

    Among those that fit, the one that is best on the preferred axis wins; where several are equal within the noise of
    measuring, the one that is better on the others, in the order of `PREFERENCES`, and then the one with fewer threads.

    Args:
        variants: All of them, with different names.
        budget: What the best may cost.
        prefer: One of `PREFERENCES`.
    """
    misses = {variant.name: missed(variant, budget) for variant in variants}
    fitting = [v for v in variants if v.measured and v.error is None and not misses[v.name]]
    chosen = min(fitting, key=lambda variant: _rank(variant, prefer), default=None)
    front = pareto_front(variants)
    why = {v.name: _why(v, misses[v.name], chosen, prefer, on_front=v.name in front) for v in variants}
    return Choice(chosen, front, misses, why)


def missed(variant: Variant, budget: Budget) -> tuple[Miss, ...]:
    """Return the axes on which a variant is beyond the budget; what was not measured misses nothing."""
    found = []
    for axis, value, allowed in (
        ("latency", variant.latency_ms, budget.latency_ms),
        ("size", None if variant.size_bytes is None else variant.size_bytes / 1e6, budget.size_mb),
        ("memory", None if variant.memory_bytes is None else variant.memory_bytes / 1e6, budget.memory_mb),
    ):
        if value is not None and allowed is not None and value > allowed:
            found.append(Miss(axis, value, allowed))
    return (*found, *([variant.quality] if variant.quality else []))


def pareto_front(variants: Iterable[Variant]) -> frozenset[str]:
    """Return the names of the measured variants that no other one beats on latency, size, memory and answers.

    One beats another when it is at least as good everywhere and better somewhere.
    """
    costs = {variant.name: _costs(variant) for variant in variants if variant.measured and variant.error is None}
    return frozenset(
        name for name, own in costs.items() if not any(_beats(other, own) for other in costs.values() if other != own)
    )


def nearest(variants: Iterable[Variant], budget: Budget) -> list[str]:
    """Say what to loosen so that something fits: for each axis alone where that is enough, else the closest variant.

    Args:
        variants: None of which fits.
        budget: Theirs.
    """
    known = [(v, missed(v, budget)) for v in variants if v.error is None and v.size_bytes is not None]
    known = [(variant, misses) for variant, misses in known if misses]
    lines = []
    for axis in _LOOSEN:
        alone = [(m[0], v) for v, m in known if len(m) == 1 and m[0].axis == axis and v.measured]
        if alone:
            miss, variant = min(alone, key=lambda pair: pair[0].measured)
            lines.append(f"{_loosened(miss)} would be met by {variant.name}, allowed is {_amount(miss, miss.allowed)}")
    if lines or not known:
        return lines
    variant, misses = min(known, key=lambda pair: (not pair[0].measured, math.prod(m.excess for m in pair[1])))
    return [f"the closest is {variant.name}: {_spelt(misses)}"]


def compared(chosen: Variant, other: Variant) -> list[tuple[str, float]]:
    """Return axis and ratio of a variant to another one, 1 being equal; for answers the difference in points."""
    pairs = [("latency", chosen.latency_ms, other.latency_ms), ("size", chosen.size_bytes, other.size_bytes)]
    pairs.append(("memory", chosen.memory_bytes, other.memory_bytes))
    found = [(axis, float(mine) / float(theirs)) for axis, mine, theirs in pairs if mine and theirs]
    return [*found, ("drop", chosen.loss - other.loss)]


def better_axes(chosen: Variant, other: Variant) -> tuple[str, ...]:
    """Return the axes on which a variant is better by more than the noise of measuring."""
    mine, theirs = _costs(chosen), _costs(other)
    return tuple(axis for axis, one, two in zip(PREFERENCES, mine, theirs, strict=True) if one < two)


def _costs(variant: Variant) -> Costs:
    """Latency, loss, size and memory, those that are measured in steps of the noise: then equals are equal."""
    memory = 0.0 if variant.memory_bytes is None else _step(variant.memory_bytes)
    return _step(variant.latency_ms or 0.0), round(variant.loss, 9), float(variant.size_bytes or 0), memory


def _step(value: float) -> float:
    return float(round(math.log(value) / _NOISE)) if value > 0 else -math.inf


def _rank(variant: Variant, prefer: str) -> tuple[float, ...]:
    costs = dict(zip(PREFERENCES, _costs(variant), strict=True))
    return (costs[prefer], *(costs[axis] for axis in PREFERENCES if axis != prefer), variant.threads)


def _beats(one: Costs, other: Costs) -> bool:
    return one != other and all(mine <= theirs for mine, theirs in zip(one, other, strict=True))


def _why(v: Variant, misses: tuple[Miss, ...], chosen: Variant | None, prefer: str, *, on_front: bool) -> str:
    if v.error is not None:
        return v.error
    if misses:
        return _spelt(misses) + ("" if v.measured else "; not measured")
    if not v.measured or chosen is None:
        return "not measured yet"
    if v.name == chosen.name:
        return f"the best that fits, by {prefer}; by the other axes where that is equal"
    return _lost(v, chosen, prefer, on_front=on_front)


def _lost(variant: Variant, chosen: Variant, prefer: str, *, on_front: bool) -> str:
    """A variant that fits against the chosen one: what is worse, and what would speak for it."""
    worse, better = better_axes(chosen, variant), better_axes(variant, chosen)
    if not worse and not better:
        return "equal to the chosen one within the noise of measuring, with as many threads or more"
    first = [axis for axis in (prefer, *PREFERENCES) if axis in worse]
    parts = [_difference(axis, variant, chosen) for axis in dict.fromkeys(first)]
    text = "fits, but " + " and ".join(parts[:2]) if parts else "fits"
    if better:
        text += "; " + " and ".join(_difference(axis, variant, chosen) for axis in better[:2])
    return text if better or on_front else text + "; nothing speaks for it"


def _difference(axis: str, variant: Variant, chosen: Variant) -> str:
    """How a variant differs from the chosen one on an axis, in words."""
    if axis == "drop":
        points = variant.loss - chosen.loss
        unit = "points" if f"{abs(points):.2g}" != "1" else "point"
        unit += "" if variant.drop_points is not None else " of agreement"
        if variant.drop_points is None and variant.agreement is None:
            return f"{'worse' if points > 0 else 'better'} relative L2"
        return f"{abs(points):.2g} {unit} {'worse' if points > 0 else 'better'}"
    ratio = dict(compared(variant, chosen))[axis]
    return f"{ratio:.2f}x the {axis}"


def _spelt(misses: Sequence[Miss]) -> str:
    return "; ".join(f"{m.axis} {_amount(m, m.measured)}, allowed {_amount(m, m.allowed)}" for m in misses)


def _amount(miss: Miss, value: float) -> str:
    return f"{value:.3g} {_UNITS[miss.axis]}"


def _loosened(miss: Miss) -> str:
    """The miss as a budget that it would fit, rounded up."""
    digits = 4 if miss.axis == "memory" else 3
    step = 10 ** (math.floor(math.log10(miss.measured)) - digits + 1) if miss.measured > 0 else 1.0
    return _LOOSEN[miss.axis].format(math.ceil(miss.measured / step) * step)


def with_rounds(variant: Variant, rounds: Sequence[tuple[float, int | None]]) -> Variant:
    """Return the variant with the medians of its rounds."""
    memory = [found for _, found in rounds if found is not None]
    return replace(
        variant,
        rounds=tuple(rounds),
        latency_ms=statistics.median(found for found, _ in rounds),
        memory_bytes=int(statistics.median(memory)) if memory else None,
    )
