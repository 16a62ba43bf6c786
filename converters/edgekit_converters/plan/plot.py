"""A picture of a plan: latency against what the answers lose, with the budget as lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.atomic import atomic_file
from edgekit.errors import MissingExtra
from edgekit_converters.plan.store import PlanFile
from edgekit_converters.plan.variants import Variant

if TYPE_CHECKING:
    from collections.abc import Sequence

PLOT = "plan.png"
_FITS, _MISSES, _CHOSEN, _FRONT, _INK = "#1f5fa8", "#b9b9b9", "#c0262d", "#e08a2b", "#333333"
_LARGEST = 900.0
"""Area of the largest artifact's mark, in square points."""


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
    from matplotlib.figure import Figure  # the figure alone: no display, no global state

    shown = [variant for variant in plan.variants if variant.measured]
    if not shown:
        return
    figure = Figure(figsize=(11, 6), layout="constrained", dpi=130)
    axis = figure.subplots()
    largest = max(variant.size_bytes or 1 for variant in shown)
    for variant in sorted(shown, key=lambda one: -(one.size_bytes or 0)):
        _mark(axis, plan, variant, largest)
    _name(axis, plan, shown)
    _budget_lines(axis, plan, shown)
    _front_line(axis, plan, shown)
    _log_scale(axis, shown)
    axis.set_xlabel("latency, ms (median)", color=_INK)
    axis.set_ylabel(_loss_name(shown[0]), color=_INK)
    axis.margins(x=0.12, y=0.16)
    axis.grid(color="#e8e8e8", linewidth=0.8, zorder=0)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    where = f" on {plan.device}" if plan.device else ""
    title = f"{plan.name}{where}: area is the artifact's size, orange rims are the Pareto front"
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold", color=_INK)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png")


def _log_scale(axis: Any, shown: Sequence[Variant]) -> None:
    """Milliseconds as plain numbers; also between the powers of ten where few of them are shown."""
    times = [variant.latency_ms or 0.0 for variant in shown]
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter("{x:g}" if max(times) < 5 * min(times) else "")


def _mark(axis: Any, plan: PlanFile, variant: Variant, largest: int) -> None:
    chosen = plan.choice.chosen is not None and variant.name == plan.choice.chosen.name
    front = variant.name in plan.choice.front
    colour = _CHOSEN if chosen else _MISSES if plan.choice.misses[variant.name] else _FITS
    area = max(30.0, _LARGEST * (variant.size_bytes or 1) / largest)
    rim = _FRONT if front else "white"
    place = (variant.latency_ms, variant.loss)
    axis.scatter(*place, s=area, color=colour, alpha=0.75, edgecolors=rim, linewidths=2 if front else 0.8, zorder=3)


def _name(axis: Any, plan: PlanFile, shown: Sequence[Variant]) -> None:
    """Number what is chosen, on the front or picked by hand, the fast ones first; the names are beside the plot."""
    chosen = None if plan.choice.chosen is None else plan.choice.chosen.name
    named = [v for v in shown if v.name in (chosen, plan.baseline) or v.name in plan.choice.front]
    lines = []
    for number, variant in enumerate(sorted(named, key=lambda one: one.latency_ms or 0.0), 1):
        axis.annotate(str(number), (variant.latency_ms, variant.loss), fontsize=8, fontweight="bold", color="white",
                      ha="center", va="center", zorder=5 if variant.name == chosen else 4)  # fmt: skip
        marks = [" (chosen)"] * (variant.name == chosen) + [" (int8 by hand)"] * (variant.name == plan.baseline)
        lines.append(f"{number}  {variant.name}{''.join(marks)}")
    axis.text(1.02, 1.0, "\n".join(lines), transform=axis.transAxes, fontsize=8, color=_INK, va="top", linespacing=1.5)


def _front_line(axis: Any, plan: PlanFile, shown: Sequence[Variant]) -> None:
    """The front of the two axes that are drawn."""
    steps: list[tuple[float, float]] = []
    for variant in sorted(shown, key=lambda one: (one.latency_ms or 0.0, one.loss)):
        if not steps or variant.loss < steps[-1][1]:
            steps.append((variant.latency_ms or 0.0, variant.loss))
    axis.step(*zip(*steps, strict=True), where="post", color=_FRONT, linewidth=1, alpha=0.7, zorder=2)


def _budget_lines(axis: Any, plan: PlanFile, shown: Sequence[Variant]) -> None:
    budget = plan.budget
    if budget.latency_ms is not None:
        axis.axvline(budget.latency_ms, color=_CHOSEN, linewidth=0.9, linestyle="--", zorder=1)
    if budget.drop_points is not None and shown[0].drop_points is not None:
        axis.axhline(budget.drop_points, color=_CHOSEN, linewidth=0.9, linestyle="--", zorder=1)


def _loss_name(variant: Variant) -> str:
    if variant.drop_points is not None and variant.metric is not None:
        return f"{variant.metric['name']} lost, points"
    return "answers unlike the original's, %" if variant.agreement is not None else "relative L2 of the worst output"
