"""What is said about the distance to the limit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgekit.units import digits
from edgekit_runtimes.bench.roofline.bound import ARITHMETIC, OperatorBound, Roofline

if TYPE_CHECKING:
    from rich.table import Table

    from edgekit_runtimes.bench.measurement import Memory

OPERATORS_SHOWN = 10
_NAME = 48


def sentence(found: Roofline, median_ms: float) -> str:
    """Say in one sentence what was measured, what could be reached, and what is in the way."""
    share = f"{100 * found.reached:.0f} %"
    reachable = f"this machine could do it in {digits(found.reachable_ms)} ms ({share})"
    text = f"{digits(median_ms)} ms; {reachable}: {_limited(found)}"
    if found.bandwidth_bound_ms is None:
        text += "; by bandwidth is not known, the kernel lists no caches"
    return text


def _limited(found: Roofline) -> str:
    if found.limit == ARITHMETIC:
        return "limited by arithmetic"
    rate = next(level.gbytes_per_s for level in found.peak.levels if level.name == found.limit)
    place = "the memory" if found.limit == "memory" else f"the {found.limit} cache"
    return f"limited by bandwidth, {rate:.3g} GB/s from {place}"


def peak_line(found: Roofline) -> str:
    """Say what the machine does at best."""
    peak = found.peak
    rates = ", ".join(f"{rate:.3g} GMAC/s in {name}" for name, rate in peak.gmacs_per_s.items())
    levels = ", ".join(f"{level.gbytes_per_s:.3g} GB/s from {level.name}" for level in peak.levels)
    return (
        f"at best here, {peak.engine} {peak.version}, threads {peak.threads}: {rates}{'; ' if levels else ''}{levels}"
    )


def memory_line(found: Roofline, memory: Memory) -> str:
    """Say what memory an inference needs at least, and what the measuring process held."""
    needed = found.resources
    weights, activations = _mb(needed.weight_bytes), _mb(needed.peak_activation_bytes)
    text = f"memory: at least {weights} of weights and {activations} of activations at once"
    if memory.peak is not None and memory.before is not None:
        text += f"; the process grew by {_mb(memory.peak - memory.before)}, the engine's library included"
    return text


def operators_table(operators: Sequence[OperatorBound]) -> Table:
    """Return the operators with the most time to gain."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("furthest from the limit", overflow="fold")
    for heading in ("ms", "could be", "reached"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("limited by", no_wrap=True)
    for one in operators[:OPERATORS_SHOWN]:
        reached = f"{100 * one.reachable_ms / one.milliseconds:.0f} %" if one.milliseconds else ""
        name = one.name if len(one.name) <= _NAME else f"…{one.name[-_NAME:]}"
        cells = (digits(one.milliseconds), digits(one.reachable_ms), reached, one.limit)
        table.add_row(escape(f"{one.kind} {name}"), *cells)
    return table


def _mb(size: int) -> str:
    return f"{size / 1e6:.3g} MB"
