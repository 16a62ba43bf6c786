"""The table that a plan ends with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.units import digits, megabytes
from edgekit_converters.input_size import sides
from edgekit_converters.plan.choose import better_axes, compared
from edgekit_converters.plan.store import PlanFile
from edgekit_converters.plan.variants import Variant

if TYPE_CHECKING:
    from rich.table import Table

CHOSEN, FRONT = "★", "●"


def plan_table(plan: PlanFile) -> Table:
    """One row a variant, the chosen one first: costs, answers, whether it is on the Pareto front, why it lost.

    Of an artifact on an engine only the fastest number of threads is shown, and what is chosen, int8 picked by hand or
    on the front.
    """
    from rich.markup import escape
    from rich.table import Table

    where = f" on {plan.device}" if plan.device else ""
    table = Table(
        title=f"{plan.name}{where}, within {plan.budget} ({CHOSEN} chosen, {FRONT} on the Pareto front)",
        title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 1),
    )  # fmt: skip
    table.add_column("")
    table.add_column("artifact", no_wrap=True)
    table.add_column("engine", no_wrap=True)
    for heading in ("threads", "latency", "size", "memory", "agree", _metric_name(plan)):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("why")
    shown = _shown(plan)
    if len(shown) < len(plan.variants):
        hidden = len(plan.variants) - len(shown)
        table.caption, table.caption_justify = f"{hidden} with other numbers of threads are in plan.json", "left"
    for variant in sorted(shown, key=lambda one: _place(plan, one)):
        why = escape(plan.choice.why[variant.name])
        table.add_row(*_cells(plan, variant), f"[green]{why}[/green]" if _is_chosen(plan, variant) else why)
    return table


def verdict_lines(plan: PlanFile) -> list[str]:
    """Say how the chosen variant compares with int8 picked by hand; nothing where there is no such variant."""
    chosen = plan.choice.chosen
    by_hand = next((variant for variant in plan.variants if variant.name == plan.baseline), None)
    if chosen is None or by_hand is None or not by_hand.measured:
        return []
    if chosen.name == by_hand.name:
        return [f"int8 picked by hand ({by_hand.name}) is the choice too"]
    ratios = ", ".join(_spoken(axis, value, chosen) for axis, value in compared(chosen, by_hand))
    misses = plan.choice.misses[by_hand.name]
    lines = [f"against int8 picked by hand ({by_hand.name}): {ratios}"]
    if misses:
        lines.append(f"int8 picked by hand does not fit: {plan.choice.why[by_hand.name]}")
    better = better_axes(chosen, by_hand)
    lines.append(f"better on {', '.join(better)}" if better else "better on no axis beyond the noise of measuring")
    return lines


def _shown(plan: PlanFile) -> list[Variant]:
    fastest: dict[tuple[str, str], Variant] = {}
    for variant in sorted(plan.variants, key=lambda one: (not one.measured, one.latency_ms or 0.0)):
        fastest.setdefault((variant.piece.name, variant.engine), variant)
    kept = {variant.name for variant in fastest.values()} | plan.choice.front
    return [v for v in plan.variants if v.name in kept or v.name == plan.baseline or _is_chosen(plan, v)]


def _spoken(axis: str, value: float, chosen: Variant) -> str:
    if axis != "drop":
        return f"{value:.2f}x the {axis}"
    if chosen.drop_points is None and chosen.agreement is None:
        return f"relative L2 {value:+.2g}"
    return f"{0.0 - value:+.2f} points" + ("" if chosen.drop_points is not None else " of agreement")


def _metric_name(plan: PlanFile) -> str:
    known = next((variant.metric for variant in plan.variants if variant.metric is not None), None)
    return "rel. L2" if known is None else str(known["name"])


def _is_chosen(plan: PlanFile, variant: Variant) -> bool:
    return plan.choice.chosen is not None and plan.choice.chosen.name == variant.name


def _place(plan: PlanFile, variant: Variant) -> tuple[bool, bool, bool, float]:
    """The chosen one, what fits, what was measured, what was not; the fast ones first."""
    misses = bool(plan.choice.misses[variant.name]) or variant.error is not None
    return not _is_chosen(plan, variant), misses, not variant.measured, variant.latency_ms or 0.0


def _cells(plan: PlanFile, variant: Variant) -> list[str]:
    mark = CHOSEN if _is_chosen(plan, variant) else FRONT if variant.name in plan.choice.front else ""
    made = variant.artifact is not None
    size = "" if variant.size_bytes is None else megabytes(variant.size_bytes)
    return [
        mark,
        " ".join([variant.piece.format, variant.piece.recipe, *_size(variant)]),
        variant.engine if made else "",
        str(variant.threads) if made else "",
        "" if variant.latency_ms is None else f"{digits(variant.latency_ms)} ms",
        size,
        "" if variant.memory_bytes is None else f"{variant.memory_bytes / 1e6:.0f} MB",
        "" if variant.agreement is None else f"{100 * variant.agreement:.1f} %",
        _answers(variant),
    ]


def _size(variant: Variant) -> list[str]:
    size = variant.piece.resolution
    return [] if size is None else [sides(size)]


def _answers(variant: Variant) -> str:
    if variant.metric is None:
        return "" if variant.relative_l2 is None else f"{variant.relative_l2:.2g}"
    value, lost = float(variant.metric["value"]), variant.drop_points or 0.0
    shown = f"{100 * value:.1f}" if 0 <= value <= 1 else f"{value:.4g}"
    return f"{shown} ({0.0 - lost:+.2f})"
