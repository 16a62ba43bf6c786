"""The error of an artifact layer by layer, as bars in the order in which they are computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgekit_converters.compare.comparison import Comparison
from edgekit_converters.compare.layers import LayerError
from edgekit_converters.compare.table import short
from edgekit_converters.report.axes import Axis, linear
from edgekit_converters.report.scatter import BOTTOM, LEFT, RIGHT, TOP


@dataclass(frozen=True)
class Bar:
    """One layer.

    Attributes:
        key: The same for the same layer in both drawings.
        x: Left side, in units of the drawing.
        width: In units of the drawing.
        y: Upper side.
        height: Down to the axis.
        lines: What is said when it is pointed at.
    """

    key: str
    x: float
    width: float
    y: float
    height: float
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Bars:
    """A drawing.

    Attributes:
        name: Unique on the page.
        title: What it shows.
        description: The same in a sentence.
        y: Vertical axis.
        bars: One for each layer.
    """

    name: str
    title: str
    description: str
    y: Axis
    bars: tuple[Bar, ...]


def layer_drawings(name: str, found: Comparison) -> tuple[Bars, ...]:
    """What each layer alone does to the outputs, and what has gathered up to it; empty without layers."""
    if not found.layers:
        return ()
    heaviest = found.carriers[0] if found.carriers else found.layers[0]
    worst = max(found.layers, key=lambda layer: layer.relative_l2)
    first = _drawn(
        f"{name}-adds",
        "Error of the outputs from each layer alone",
        f"{len(found.layers)} layers; {short(heaviest.name)} moves the outputs most, by {added(heaviest):.2g}.",
        found.layers,
        added,
    )
    second = _drawn(
        f"{name}-total",
        "Error gathered up to each layer",
        f"{len(found.layers)} layers; the most is {worst.relative_l2:.2g} at {short(worst.name)}.",
        found.layers,
        lambda layer: layer.relative_l2,
    )
    return first, second


def added(layer: LayerError) -> float:
    """Relative L2 of the outputs if only this layer were wrong; of the layer itself where that was not measured."""
    value = layer.at_output if layer.at_output is not None else layer.own
    return layer.relative_l2 if value is None else value


def _drawn(
    name: str, title: str, description: str, layers: tuple[LayerError, ...], value: Callable[[LayerError], float]
) -> Bars:
    axis = linear("relative L2", [*map(value, layers), 1e-6], start=BOTTOM, end=TOP, zero=True)
    step = (RIGHT - LEFT) / len(layers)
    bars = []
    for place, layer in enumerate(layers):
        top = axis.place(value(layer))
        lines = (
            f"{place}: {short(layer.name)}",
            f"{layer.operator}, {layer.dtype}",
            f"alone at the outputs {added(layer):.2g}",
            f"gathered {layer.relative_l2:.2g}",
        )
        # A bar of no height could not be pointed at.
        height = max(1.0, round(BOTTOM - top, 2))
        x, width = round(LEFT + place * step, 2), round(max(0.8, step * 0.78), 2)
        bars.append(Bar(f"layer-{place}", x, width, round(BOTTOM - height, 2), height, lines))
    return Bars(name, title, description, axis, tuple(bars))
