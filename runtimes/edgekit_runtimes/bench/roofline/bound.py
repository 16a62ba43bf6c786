"""The time that a machine could reach: pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgekit.resources import OperatorResources, Resources
from edgekit_runtimes.bench.roofline.bandwidth import Level
from edgekit_runtimes.bench.roofline.peak import MachinePeak

ARITHMETIC = "arithmetic"


@dataclass(frozen=True)
class Bound:
    """The least time that something can take.

    Attributes:
        milliseconds: That time.
        limit: ``arithmetic``, or the `Level` that bytes come from; empty where nothing takes time.
    """

    milliseconds: float
    limit: str


@dataclass(frozen=True)
class OperatorBound:
    """One operator of the artifact and what a profiler measured of it.

    Attributes:
        name: In the artifact.
        kind: Operator type in the artifact.
        milliseconds: Measured.
        reachable_ms: What the machine could reach.
        limit: As in `Bound`.
    """

    name: str
    kind: str
    milliseconds: float
    reachable_ms: float
    limit: str

    @property
    def lost_ms(self) -> float:
        """What could be gained at most."""
        return max(0.0, self.milliseconds - self.reachable_ms)


@dataclass(frozen=True)
class Roofline:
    """How far a measured latency is from what the machine could do.

    Attributes:
        compute_bound_ms: All multiplications at the engine's peak rate.
        bandwidth_bound_ms: The bytes that caches cannot keep, at the bandwidth of where they come from; ``None`` where
            the caches of the machine are not known.
        reachable_ms: The least time, operator by operator the larger of the two.
        reached: ``reachable_ms`` over the measured median, 0..1.
        limit: What bounds it: ``arithmetic``, or the cache or memory that bytes come from.
        peak: What it was compared with.
        resources: What one inference costs.
        operators: Those that were profiled and matched.
    """

    compute_bound_ms: float
    bandwidth_bound_ms: float | None
    reachable_ms: float
    reached: float
    limit: str
    peak: MachinePeak
    resources: Resources
    operators: tuple[OperatorBound, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; what is not known is left out."""
        raw: dict[str, Any] = {
            "compute_bound_ms": self.compute_bound_ms,
            "bandwidth_bound_ms": self.bandwidth_bound_ms,
            "reachable_ms": self.reachable_ms,
            "reached": self.reached,
            "limit": self.limit,
            "peak": self.peak.to_dict(),
            "resources": {key: value for key, value in vars(self.resources).items() if key != "operators"},
            "operators": [vars(operator) for operator in self.operators] or None,
        }
        return {key: value for key, value in raw.items() if value is not None}


def roofline(resources: Resources, peak: MachinePeak, median_ms: float) -> Roofline | None:
    """Compare a measured latency with the machine's peaks.

    Args:
        resources: What one inference of the artifact costs.
        peak: Of the same engine and threads.
        median_ms: Measured median latency.

    Returns:
        ``None`` where the engine's peak rate is not known for a precision that the artifact multiplies in.
    """
    compute = compute_ms(resources.macs, resources.int8_macs, peak.gmacs_per_s)
    if compute is None:
        return None
    whole = moving(resources.weights_read_bytes + resources.peak_activation_bytes, peak.levels)
    bounds = [one for one in (operator_bound(operator, peak) for operator in resources.operators) if one is not None]
    moved = [moving(operator_bytes(operator), peak.levels) for operator in resources.operators]
    slowest = max(moved, key=lambda bound: bound.milliseconds, default=Bound(0.0, ""))
    by_operator = Bound(sum(bound.milliseconds for bound in moved), slowest.limit)
    bandwidth = max(whole, by_operator, key=lambda bound: bound.milliseconds)
    reachable = max(compute, bandwidth.milliseconds, sum(bound.milliseconds for bound in bounds))
    return Roofline(
        compute_bound_ms=compute,
        bandwidth_bound_ms=bandwidth.milliseconds if peak.levels else None,
        reachable_ms=reachable,
        reached=reachable / median_ms,
        limit=ARITHMETIC if compute >= bandwidth.milliseconds else bandwidth.limit,
        peak=peak,
        resources=resources,
    )


def compute_ms(macs: int, int8_macs: int, rates: Mapping[str, float]) -> float | None:
    """Milliseconds of multiplications at peak rates in 10^9 a second; ``None`` where a rate is missing."""
    parts = {"fp32": macs - int8_macs, "int8": int8_macs}
    if any(count and not rates.get(dtype) for dtype, count in parts.items()):
        return None
    return sum(count / rates[dtype] / 1e6 for dtype, count in parts.items() if count)


def moving(size: int, levels: Sequence[Level]) -> Bound:
    """The least time to touch bytes once, again and again: what a cache holds of them need not come from beyond it."""
    times = [Bound(max(0, size - level.below) / level.gbytes_per_s / 1e6, level.name) for level in levels]
    return max(times, key=lambda bound: bound.milliseconds, default=Bound(0.0, ""))


def operator_bytes(operator: OperatorResources) -> int:
    """What one operator must move; of a product of two activations nothing is certain: engines fuse attention."""
    return operator.traffic_bytes if operator.weight_bytes else 0


def operator_bound(operator: OperatorResources, peak: MachinePeak) -> Bound | None:
    """The least time of one operator; ``None`` where the engine's peak rate is not known."""
    compute = compute_ms(operator.macs, operator.macs if operator.int8 else 0, peak.gmacs_per_s)
    if compute is None:
        return None
    moved = moving(operator_bytes(operator), peak.levels)
    return moved if moved.milliseconds > compute else Bound(compute, ARITHMETIC)
