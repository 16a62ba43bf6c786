"""Tables of what was measured, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgekit.units import digits
from edgekit_runtimes.bench.comparison import Comparison
from edgekit_runtimes.bench.machine import State
from edgekit_runtimes.bench.measurement import PARTS, Measurement
from edgekit_runtimes.bench.operators import Profile

if TYPE_CHECKING:
    from rich.table import Table

KINDS_SHOWN = 12
_WIDE = 140
_NARROW = ("threads", "load ms", "p50 ms", "p90 ms", "p99 ms", "runs/s", "peak MB")
_COVERED = 0.8
"""Where operators add up to less than this share of a run, the table says what the rest is."""


def latency_table(measurements: Sequence[Measurement], width: int) -> Table:
    """Return a row for each configuration: load, first, steady latency, memory; the main ones where it is narrow."""
    narrow = width < _WIDE
    left = [heading for heading in ("artifact", "engine") if not (narrow and heading == "engine")]
    columns = [_columns(one) for one in measurements]
    headings = [heading for heading in columns[0] if not (narrow and heading not in _NARROW)]
    table = _table(tuple(left), tuple(heading.replace(" ", "\n") if narrow else heading for heading in headings))
    table.add_column("verdict", no_wrap=True)
    for one, cells in zip(measurements, columns, strict=True):
        names = (one.target.name, f"{one.engine} {one.version}")[: len(left)]
        verdict = "[green]valid[/green]" if one.valid else "[red]INVALID[/red]"
        table.add_row(*names, *(cells[heading] for heading in headings), verdict)
    return table


def _columns(one: Measurement) -> dict[str, str]:
    latency = one.latency
    return {
        "threads": str(one.threads),
        "load ms": digits(one.load_ms),
        "first ms": digits(one.first_ms),
        "p50 ms": digits(latency.p50),
        "p90 ms": digits(latency.p90),
        "p99 ms": digits(latency.p99),
        "mean ms": digits(latency.mean),
        "min ms": digits(latency.minimum),
        "runs": str(latency.count),
        "runs/s": f"{latency.per_second:.1f}",
        "peak MB": _mb(one.memory.peak),
        "loading MB": _mb(one.memory.added),
    }


def parts_table(measurements: Sequence[Measurement]) -> Table:
    """Return the way from a real input to a result, part by part: median and 90th percentile."""
    table = _table(("artifact",), ("threads",), tuple(f"{part} ms" for part in PARTS), ("p90 ms", "inputs/s"))
    for one in measurements:
        whole = one.parts["whole"]
        medians = [digits(one.parts[part].p50) for part in PARTS]
        table.add_row(one.target.name, str(one.threads), *medians, digits(whole.p90), f"{whole.per_second:.1f}")
    return table


def operators_table(profile: Profile) -> Table:
    """Return the most expensive operator types and the most expensive node of each."""
    from rich.markup import escape

    table = _table(("operator",), ("nodes", "ms", "share"))
    table.add_column("most expensive node")
    kinds = profile.kinds()
    for kind in kinds[:KINDS_SHOWN]:
        worst = max((node for node in profile.nodes if node.kind == kind.kind), key=lambda node: node.milliseconds)
        where = f"{escape(worst.name)}: {digits(worst.milliseconds)} ms"
        table.add_row(escape(kind.kind), str(kind.nodes), digits(kind.milliseconds), f"{kind.share:.1%}", where)
    if rest := kinds[KINDS_SHOWN:]:
        share = sum(kind.share for kind in rest)
        milliseconds = digits(sum(kind.milliseconds for kind in rest))
        table.add_row("the others", str(sum(kind.nodes for kind in rest)), milliseconds, f"{share:.1%}", "")
    return table


def operators_line(one: Measurement, profile: Profile) -> str:
    """Say who measured the operators and how much of a run they are."""
    mean = one.latency.mean
    text = (
        f"{one.target.name}, threads {one.threads}: operators by {profile.source}, {profile.runs} runs: "
        f"{digits(profile.operators_ms)} ms in a run of {digits(profile.run_ms)} ms, "
        f"{digits(mean)} ms without the profiler"
    )
    if profile.operators_ms < _COVERED * mean:
        text += "; the rest is the call, copies, and operators too short for the profiler's whole microseconds"
    return text


def comparison_lines(found: Comparison) -> list[str]:
    """Say in three lines which of two artifacts is faster, and how sure that is."""
    sides = [
        f"{letter}: {target.path}  {engine}  p50 {digits(latency.p50)} ms"
        for letter, target, engine, latency in zip("AB", found.targets, found.engines, found.latencies, strict=True)
    ]
    ratio = found.ratio
    verdict = "INVALID" if found.machine.invalid else ratio.verdict
    return [
        *sides,
        f"A/B: {ratio.ratio:.3f}, 95 % interval {ratio.low:.3f} to {ratio.high:.3f}, {ratio.pairs} pairs in turn, "
        f"threads {found.threads}: {verdict}",
    ]


def machine_line(states: Sequence[State], others_share: float | None) -> str:
    """Say in one line how the machine was; what it does not tell is named."""
    first, last = states[0], states[-1]
    known = [_clock(states), f"governor {', '.join(first.governors)}" if first.governors else "", _heat(states)]
    if first.pi_throttled is not None:
        known.append(f"get_throttled {first.pi_throttled:#x} to {last.pi_throttled or 0:#x}")
    if last.load_average is not None:
        known.append(f"load average {last.load_average:.2f}")
    if others_share is not None:
        known.append(f"others used {others_share:.0%} of the processors")
    unknown = [
        name
        for name, values in (
            ("clock", first.frequencies_mhz),
            ("governor", first.governors),
            ("temperature", first.temperatures_c),
        )
        if not values
    ]
    if unknown:
        known.append(f"{', '.join(unknown)} not readable here")
    return "machine: " + "; ".join(text for text in known if text)


def _clock(states: Sequence[State]) -> str:
    values = [value for state in states for value in state.frequencies_mhz]
    return f"clock {min(values):.0f} to {max(values):.0f} MHz" if values else ""


def _heat(states: Sequence[State]) -> str:
    peaks = {
        name: max(s.temperatures_c.get(name, value) for s in states) for name, value in states[0].temperatures_c.items()
    }
    if not peaks:
        return ""
    name = max(peaks, key=lambda zone: peaks[zone])
    return f"{name} {states[0].temperatures_c[name]:.0f} °C before, {peaks[name]:.0f} °C at most"


def _table(left: tuple[str, ...], *right: tuple[str, ...]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in left:
        table.add_column(heading, overflow="fold")
    for heading in (heading for group in right for heading in group):
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _mb(value: int | None) -> str:
    return "?" if value is None else f"{value / 1e6:.1f}"
