"""A picture of the error from layer to layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgekit.atomic import atomic_file
from edgekit.errors import UsageError
from edgekit_converters.compare.comparison import Comparison
from edgekit_converters.compare.layers import LayerError
from edgekit_converters.compare.table import short

_SUFFIXES = (".png", ".svg", ".pdf")
_TOTAL, _OWN, _OUTPUT, _FAINT, _MARK, _INK = "#1f5fa8", "#e08a2b", "#7a3fa0", "#cdb9dc", "#c0262d", "#333333"
_NAMED = 5


def check_target(path: Path) -> None:
    """Refuse a file name before the work is done. Raises UsageError."""
    if path.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"--plot {path}", expected=f"a file name that ends in {', '.join(_SUFFIXES)}")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--plot {path}: there is no folder {path.parent}", expected="a folder that exists")


def draw(found: Comparison, path: Path) -> None:
    """Draw the error of every layer, what it adds itself, and what that does to the outputs.

    Args:
        found: A comparison with layers.
        path: Where to write; replaced in one step.

    Raises:
        UsageError: There is nothing to draw.
    """
    if not found.layers:
        raise UsageError(
            f"--plot {path}: no layers to draw", expected="an artifact whose layers could be aligned; see the notes"
        )
    from matplotlib.figure import Figure  # the figure alone: no display, no global state

    count = len(found.layers)
    figure = Figure(figsize=(min(18.0, max(9.0, 3 + 0.16 * count)), 6.6), layout="constrained", dpi=130)
    weighed = any(layer.at_output for layer in found.layers)
    heights = (3, 2) if weighed else (1,)
    axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    _draw_errors(axes[0], found)
    if weighed:
        _draw_outputs(axes[1], found)
    axes[-1].set_xlabel("layers in the order they are computed")
    axes[-1].set_xlim(-0.8, count - 0.2)
    figure.suptitle(_title(found), x=0.01, ha="left", fontsize=12, fontweight="bold", color=_INK)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower())


def _title(found: Comparison) -> str:
    parity = found.outputs
    agreement = f", agreement {100 * parity.agreement.value:.1f} %" if parity.agreement else ""
    return f"{found.artifact} against {found.original}\noutputs: relative L2 {parity.worst.relative_l2:.2g}{agreement}"


def _draw_errors(axis: Any, found: Comparison) -> None:
    layers = found.layers
    places = range(len(layers))
    own = [layer.own or 0.0 for layer in layers]
    axis.bar(places, own, width=0.75, color=_OWN, label="added by the layer itself", zorder=2)
    total = [layer.relative_l2 for layer in layers]
    axis.plot(places, total, color=_TOTAL, marker="o", markersize=3, linewidth=1.6, label="total", zorder=3)
    axis.axhline(found.threshold, color=_MARK, linewidth=0.9, linestyle="--", zorder=1)
    axis.text(0.002, found.threshold, f"threshold {found.threshold:g}", color=_MARK, fontsize=8, ha="left",
              va="bottom", transform=axis.get_yaxis_transform())  # fmt: skip
    start = found.start
    if start is not None:
        place = layers.index(start)
        axis.plot([place], [start.relative_l2], "o", markersize=9, markerfacecolor="none", color=_MARK, zorder=4)
        _name_start(axis, place, start, late=place > 0.6 * len(layers))
    _styled(axis, "relative L2 error")
    axis.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, 1.12), ncols=2)


def _name_start(axis: Any, place: int, start: LayerError, *, late: bool) -> None:
    """Name the layer at the top, where lines seldom run, and on the side that has room."""
    line = {"arrowstyle": "-", "color": _MARK, "linewidth": 0.7, "relpos": (float(late), 0.0)}
    axis.annotate(
        f"starts at {short(start.name)}",
        (place, start.relative_l2),
        xytext=(place, 0.96),
        textcoords=axis.get_xaxis_transform(),
        fontsize=8,
        color=_MARK,
        va="top",
        ha="right" if late else "left",
        zorder=5,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.85},
        arrowprops=line,
    )


def _draw_outputs(axis: Any, found: Comparison) -> None:
    values = [layer.at_output or 0.0 for layer in found.layers]
    heaviest = sorted(range(len(values)), key=lambda place: values[place], reverse=True)[:_NAMED]
    heaviest = [place for place in heaviest if values[place]]
    colours = [_OUTPUT if place in heaviest else _FAINT for place in range(len(values))]
    axis.bar(range(len(values)), values, width=0.75, color=colours, zorder=2)
    for rank, place in enumerate(heaviest, 1):
        axis.annotate(str(rank), (place, values[place]), xytext=(0, 2), textcoords="offset points", fontsize=8,
                      fontweight="bold", color=_OUTPUT, ha="center")  # fmt: skip
    listed = [f"{rank}  {short(found.layers[place].name)}" for rank, place in enumerate(heaviest, 1)]
    middle = [value for place, value in enumerate(values) if place > len(values) / 2]
    left = max(middle, default=0.0) >= max(values)  # names go where the bars are low
    axis.text(0.12 if left else 0.88, 0.97, "\n".join(listed), transform=axis.transAxes, fontsize=8, color=_OUTPUT,
              ha="left" if left else "right", va="top", linespacing=1.4,
              multialignment="left")  # fmt: skip
    axis.margins(y=0.2)
    _styled(axis, "relative L2 of the outputs\nif only this layer erred")


def _styled(axis: Any, label: str) -> None:
    axis.set_ylabel(label, color=_INK, fontsize=9)
    axis.set_ylim(bottom=0)
    axis.grid(axis="y", color="#e3e3e3", linewidth=0.8, zorder=0)
    axis.tick_params(colors=_INK, labelsize=8)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
