"""A picture of a plan: latency against what the answers lose, with the budget as lines."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.atomic import atomic_file
from edgekit.errors import MissingExtra
from edgekit_converters.labelling import Box, Spot, Wanted, placed
from edgekit_converters.plan.store import PlanFile
from edgekit_converters.plan.variants import Variant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

PLOT = "plan.png"
_FITS, _MISSES, _CHOSEN, _FRONT, _INK = "#1f5fa8", "#b9b9b9", "#c0262d", "#e08a2b", "#333333"
_LARGEST = 420.0
"""Area of the largest artifact's mark, in square points."""
_REACH, _AFAR, _FEW_DECADES, _DPI = 90.0, 3.0, 300.0, 130
"""A number's greatest distance from its mark in points; a budget is drawn up to so many times off the values."""


def require_matplotlib() -> None:
    """Check that a plot can be drawn, before anything is converted. Raises MissingExtra."""
    try:
        import matplotlib.figure  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "--plot needs matplotlib, which is not installed", remedy="pip install 'edgekit-ai[plot]'"
        ) from error


def draw(plan: PlanFile, path: Path) -> None:
    """Draw every measured variant: its area is the size of its artifact.

    Args:
        plan: With at least one measured variant; otherwise nothing is drawn.
        path: A ``.png`` file, replaced in one step.
    """
    figure = drawn(plan)
    if figure is None:
        return
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png")


def drawn(plan: PlanFile) -> Figure | None:
    """The picture; ``None`` where nothing was measured."""
    from matplotlib.figure import Figure  # the figure alone: no display, no global state

    shown = [variant for variant in plan.variants if variant.measured]
    if not shown:
        return None
    figure = Figure(figsize=(11, 6), layout="constrained", dpi=_DPI)
    axis = figure.subplots()
    areas = _areas(shown)
    for variant in sorted(shown, key=lambda one: (_chosen(plan, one), -(one.size_bytes or 0))):
        _mark(axis, plan, variant, areas[variant.name])
    beyond = _budget_lines(axis, plan, shown)
    _front_line(axis, shown)
    _log_scale(axis, shown)
    axis.set_xlabel("; ".join(["latency, ms (median; logarithmic)", *beyond]), color=_INK)
    axis.set_ylabel(_loss_name(shown[0]), color=_INK)
    axis.margins(x=0.12, y=0.16)
    axis.grid(color="#e8e8e8", linewidth=0.8, zorder=0)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    where = f" on {plan.device}" if plan.device else ""
    title = f"{plan.name}{where}: area is the artifact's size, orange rims are the Pareto front"
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold", color=_INK)
    _name(figure, axis, plan, shown, areas)
    return figure


def _chosen(plan: PlanFile, variant: Variant) -> bool:
    return plan.choice.chosen is not None and variant.name == plan.choice.chosen.name


def _areas(shown: Sequence[Variant]) -> dict[str, float]:
    """Of the marks, in square points."""
    largest = max(variant.size_bytes or 1 for variant in shown)
    return {one.name: max(30.0, _LARGEST * (one.size_bytes or 1) / largest) for one in shown}


def _log_scale(axis: Any, shown: Sequence[Variant]) -> None:
    """Milliseconds as plain numbers; also between the powers of ten where few of them are shown."""
    from matplotlib.ticker import LogLocator

    times = [variant.latency_ms or 0.0 for variant in shown]
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:g}")
    if max(times) < _FEW_DECADES * min(times):
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.xaxis.set_minor_formatter("")


def _mark(axis: Any, plan: PlanFile, variant: Variant, area: float) -> None:
    chosen, front = _chosen(plan, variant), variant.name in plan.choice.front
    colour = _CHOSEN if chosen else _MISSES if plan.choice.misses[variant.name] else _FITS
    rim = _FRONT if front else "white"
    place = (variant.latency_ms, variant.loss)
    axis.scatter(*place, s=area, color=colour, alpha=0.75, edgecolors=rim, linewidths=2 if front else 0.8, zorder=3)


def _name(figure: Figure, axis: Any, plan: PlanFile, shown: Sequence[Variant], areas: Mapping[str, float]) -> None:
    """Number what is chosen, on the front or picked by hand, the fast ones first; the names are beside the plot."""
    named = [v for v in shown if _chosen(plan, v) or v.name == plan.baseline or v.name in plan.choice.front]
    named.sort(key=lambda one: one.latency_ms or 0.0)
    lines = []
    for number, variant in enumerate(named, 1):
        marks = [" (chosen)"] * _chosen(plan, variant) + [" (int8 by hand)"] * (variant.name == plan.baseline)
        lines.append(f"{number}  {variant.name}{''.join(marks)}")
    axis.text(1.02, 1.0, "\n".join(lines), transform=axis.transAxes, fontsize=8, color=_INK, va="top", linespacing=1.5)
    figure.draw_without_rendering()  # only then is it known where in the picture a value lies
    spots = _places(figure, axis, named, shown, areas)
    for number, (variant, spot) in enumerate(zip(named, spots, strict=True), 1):
        if spot is not None:
            _number(figure, axis, number, spot, bold=_chosen(plan, variant))


def _places(
    figure: Figure, axis: Any, named: Sequence[Variant], shown: Sequence[Variant], areas: Mapping[str, float]
) -> list[Spot | None]:
    """Where the numbers stand, in pixels from the upper left corner."""
    pixel, height = figure.dpi / 72, figure.bbox.height

    def at(variant: Variant) -> tuple[float, float]:
        x, y = axis.transData.transform((variant.latency_ms, variant.loss))
        return float(x), float(height - y)

    def radius(variant: Variant) -> float:
        return math.sqrt(areas[variant.name] / math.pi) * pixel

    def around(variant: Variant) -> Box:
        (x, y), r = at(variant), 0.8 * radius(variant)
        return x - r, y - r, x + r, y + r

    wanted = []
    for number, variant in enumerate(named, 1):
        width, gap = 6.2 * pixel * len(str(number)), radius(variant) + 2 * pixel
        wanted.append(Wanted(*at(variant), width, 9.0 * pixel, gap, _REACH * pixel))
    frame = axis.get_window_extent()
    area = (frame.x0, height - frame.y1, frame.x1, height - frame.y0)
    return placed(wanted, area, [around(variant) for variant in shown])


def _number(figure: Figure, axis: Any, number: int, spot: Spot, *, bold: bool) -> None:
    """Draw a number at a place in pixels, and the line to its mark."""
    height = figure.bbox.height
    side = {"start": "left", "middle": "center", "end": "right"}[spot.anchor]
    y = height - (spot.box[1] + spot.box[3]) / 2
    axis.annotate(
        str(number), (spot.x, y), xycoords="figure pixels", fontsize=9, fontweight="bold",
        color=_CHOSEN if bold else _INK, ha=side, va="center", zorder=6,
    )  # fmt: skip
    if spot.leader is not None:
        line = spot.leader
        axis.annotate(
            "", (line.x1, height - line.y1), (line.x2, height - line.y2), xycoords="figure pixels",
            textcoords="figure pixels", arrowprops={"arrowstyle": "-", "color": _INK, "linewidth": 0.7}, zorder=5,
        )  # fmt: skip


def _front_line(axis: Any, shown: Sequence[Variant]) -> None:
    """The front of the two axes that are drawn."""
    steps: list[tuple[float, float]] = []
    for variant in sorted(shown, key=lambda one: (one.latency_ms or 0.0, one.loss)):
        if not steps or variant.loss < steps[-1][1]:
            steps.append((variant.latency_ms or 0.0, variant.loss))
    axis.step(*zip(*steps, strict=True), where="post", color=_FRONT, linewidth=1, alpha=0.7, zorder=2)


def _budget_lines(axis: Any, plan: PlanFile, shown: Sequence[Variant]) -> list[str]:
    """Lines at the limits; returns words for those so far off that a line would crush the marks."""
    budget, beyond = plan.budget, []
    times = [variant.latency_ms or 0.0 for variant in shown]
    if budget.latency_ms is not None:
        if min(times) / _AFAR <= budget.latency_ms <= max(times) * _AFAR:
            axis.axvline(budget.latency_ms, color=_CHOSEN, linewidth=0.9, linestyle="--", zorder=1)
        else:
            beyond.append(f"budget {budget.latency_ms:g} ms, off the plot")
    if budget.drop_points is not None and shown[0].drop_points is not None:
        losses = [variant.loss for variant in shown]
        spread = max(max(losses) - min(losses), 1.0)
        if budget.drop_points <= max(losses) + spread:
            axis.axhline(budget.drop_points, color=_CHOSEN, linewidth=0.9, linestyle="--", zorder=1)
        else:
            beyond.append(f"budget {budget.drop_points:g} points, off the plot")
    return beyond


def _loss_name(variant: Variant) -> str:
    if variant.drop_points is not None and variant.metric is not None:
        return f"{variant.metric['name']} lost, points"
    return "answers unlike the original's, %" if variant.agreement is not None else "relative L2 of the worst output"
