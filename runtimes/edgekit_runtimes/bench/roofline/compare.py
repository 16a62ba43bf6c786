"""From measurements to their distance from the limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgekit.bundle import Bundle
from edgekit.errors import EdgeKitError
from edgekit.resources import Resources
from edgekit_runtimes.bench.job import Target
from edgekit_runtimes.bench.measurement import Measurement
from edgekit_runtimes.bench.roofline.bound import Roofline, roofline
from edgekit_runtimes.bench.roofline.operators import bounds
from edgekit_runtimes.bench.roofline.peak import MachinePeak, machine_peak

BARE = "a bare file does not say what an inference costs: give the bundle"
OLD = "the bundle does not say what an inference costs, or its graph has control flow or open shapes: convert again"
ELSEWHERE = "the peak of an accelerator is not measured, only that of engines on the CPU"
FASTER = (
    "it was faster than the peak that was measured: the engine multiplies in another precision or in fewer steps, or "
    "the machine was busy meanwhile"
)
NO_RATE = "the engine refuses the small network with which its peak is measured"


def with_rooflines(measurements: Sequence[Measurement], root: Path = Path("/")) -> tuple[list[Measurement], list[str]]:
    """Add to each measurement how far it is from the limit.

    Returns:
        The measurements, and why it is not known of some.
    """
    found, unknown = [], []
    for one in measurements:
        result = _compared(one, root)
        if isinstance(result, str):
            unknown.append(f"{one.target.name}: how far from the limit is not known: {result}")
        found.append(one if isinstance(result, str) else replace(one, roofline=result))
    return found, unknown


def resources_of(target: Target) -> Resources | None:
    """What the bundle says an artifact costs."""
    if target.bundle is None:
        return None
    bundle = Bundle(target.bundle, check=False)
    return next((artifact.resources for artifact in bundle.artifacts if artifact.file == target.name), None)


def _compared(one: Measurement, root: Path) -> Roofline | str:
    resources = resources_of(one.target)
    if resources is None:
        return BARE if one.target.bundle is None else OLD
    if ":" in one.engine:
        return ELSEWHERE
    try:
        peak = _peak(one, root)
        found = roofline(resources, peak, one.latency.p50)
        if found is not None and found.reached > 1:  # nothing is faster than it can be: the peak was held up
            peak = _peak(one, root, afresh=True).or_better(peak)
            found = roofline(resources, peak, one.latency.p50)
    except EdgeKitError as error:
        return str(error)
    if found is None or found.reached > 1:
        return NO_RATE if found is None else FASTER
    nodes = () if one.profile is None else one.profile.nodes
    return replace(found, operators=tuple(bounds(nodes, resources.operators, peak)))


def _peak(one: Measurement, root: Path, *, afresh: bool = False) -> MachinePeak:
    return machine_peak(one.target, one.engine, one.version, one.threads, root=root, afresh=afresh)
