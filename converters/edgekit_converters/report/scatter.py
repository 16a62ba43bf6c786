"""Artifacts as points: how well they answer against what they cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from edgekit_converters.report import words
from edgekit_converters.report.axes import Axis, decades, linear

WIDTH, HEIGHT = 420, 290
LEFT, RIGHT, TOP, BOTTOM = 58, 406, 16, 242
_CHARACTER, _LINE, _GAP, _RING = 7.4, 15.0, 13.0, 11.0
_REFERENCE_STEP = 20


Box = tuple[float, float, float, float]
"""Left, upper, right and lower end."""


@dataclass(frozen=True)
class Datum:
    """What one point stands for.

    Attributes:
        key: The same for the same artifact in every drawing.
        name: Short, beside the point.
        group: Number of the colour and shape.
        x: What it costs.
        y: How well it answers.
        low: Lower end of the interval of ``y``.
        high: Upper end.
        lines: What is said when it is pointed at.
        mark: ``best``, ``missed``, ``baseline`` or nothing.
    """

    key: str
    name: str
    group: int
    x: float
    y: float
    low: float
    high: float
    lines: tuple[str, ...]
    mark: str = ""


@dataclass(frozen=True)
class Label:
    """Where the name of a point stands."""

    x: float
    y: float
    anchor: str


@dataclass(frozen=True)
class Dot:
    """A point at its place.

    Attributes:
        datum: What it stands for.
        x: In units of the drawing.
        y: In units of the drawing.
        low: Place of the lower end of the interval.
        high: Place of the upper end.
        label: Where its name stands; ``None`` where there is no room.
    """

    datum: Datum
    x: float
    y: float
    low: float
    high: float
    label: Label | None = None


@dataclass(frozen=True)
class Reference:
    """The original's value, as a line.

    Attributes:
        y: Its height in units of the drawing.
        text: What is said of it.
        label: Where that stands.
    """

    y: float
    text: str
    label: Label


@dataclass(frozen=True)
class Scatter:
    """A drawing.

    Attributes:
        name: Unique on the page, for references.
        title: What it shows.
        description: The same in a sentence, for screen readers.
        x: Horizontal axis.
        y: Vertical axis.
        dots: Points from left to right.
        line: Dots of the Pareto front as an SVG path; empty without one.
        reference: The original's value; ``None`` without one.
    """

    name: str
    title: str
    description: str
    x: Axis
    y: Axis
    dots: tuple[Dot, ...]
    line: str = ""
    reference: Reference | None = None


@dataclass(frozen=True)
class Quality:
    """The vertical axis of several drawings.

    Attributes:
        name: Unique on the page.
        label: Of the axis and of its switch.
        share: Whether values are shares in 0..1.
        logarithmic: For errors over powers of ten.
        original: The original's value; ``None`` without one.
    """

    name: str
    label: str
    share: bool = True
    logarithmic: bool = False
    original: float | None = None


def drawn(
    name: str, quality: Quality, cost: str, data: Sequence[Datum], *, front: bool = False, zero: bool = True
) -> Scatter:
    """Place points and their names.

    Args:
        name: Unique on the page.
        quality: What the height stands for.
        cost: What the width stands for, with its unit.
        data: At least one.
        front: Whether to draw the Pareto front as a line.
        zero: Whether the width begins at 0.
    """
    x = linear(cost, [datum.x for datum in data], start=LEFT, end=RIGHT, zero=zero)
    y = _height(quality, data)
    dots = [_dot(datum, x, y) for datum in sorted(data, key=lambda datum: (datum.x, datum.key))]
    best = max(data, key=lambda datum: (datum.mark == "best", datum.y))
    description = (
        f"{len(dots)} points, {cost} from {min(d.x for d in data):.3g} to {max(d.x for d in data):.3g}; "
        f"{best.name}: {', '.join(best.lines[1:])}."
    )
    line = _front(dots) if front else ""
    reference, taken = _reference(quality, y, dots)
    title = f"{quality.label} against {cost.partition(',')[0]}"
    return Scatter(name, title, description, x, y, _named(dots, taken), line, reference)


def _reference(quality: Quality, y: Axis, dots: Sequence[Dot]) -> tuple[Reference | None, tuple[Box, ...]]:
    """The line of the original with its words where no point is, if there is such a place; and the room they take."""
    if quality.original is None:
        return None, ()
    value = words.percent(quality.original) if quality.share else f"{quality.original:.4g}"
    text, at = f"original {value}", y.place(quality.original)
    width, points = _CHARACTER * len(text), [_around(dot) for dot in dots]
    boxes = [
        (right - width, top, right, top + _LINE - 2)
        for top in (at - _LINE - 1, at + 3)
        for right in (*range(RIGHT, round(LEFT + width), -_REFERENCE_STEP), LEFT + width)
    ]
    free = (box for box in boxes if _inside(box) and not any(_overlap(box, point) for point in points))
    box = next(free, boxes[0])
    label = Label(box[2], round(box[3] - 2, 2), "end")
    return Reference(at, text, label), (box, (LEFT, at - 1, RIGHT, at + 1))


def _height(quality: Quality, data: Sequence[Datum]) -> Axis:
    if quality.logarithmic:
        return decades(quality.label, [datum.y for datum in data], start=BOTTOM, end=TOP)
    values = [end for datum in data for end in (datum.low, datum.high)]
    if quality.original is not None:
        values.append(quality.original)
    text: Callable[[float], str] = (lambda value: f"{100 * value:g} %") if quality.share else "{:g}".format
    most = 1.0 if quality.share else float("inf")
    return linear(quality.label, values, start=BOTTOM, end=TOP, text=text, most=most)


def _dot(datum: Datum, x: Axis, y: Axis) -> Dot:
    return Dot(datum, x.place(datum.x), y.place(datum.y), y.place(datum.low), y.place(datum.high))


def _front(dots: Sequence[Dot]) -> str:
    """Steps along the dots that no other dot of this drawing beats in both directions, as an SVG path."""
    best, path = math.inf, ""
    for dot in sorted(dots, key=lambda dot: (dot.x, dot.y)):
        if dot.y < best:
            path += f"H{dot.x} V{dot.y} " if path else f"M{dot.x} {dot.y} "
            best = dot.y
    return path.strip()


def _named(dots: Sequence[Dot], taken: Sequence[Box]) -> tuple[Dot, ...]:
    """Give each point the first free place for its name: right, left, above, below, then further off.

    Points of one name at one place have it once.
    """
    used = [*map(_around, dots), *taken]
    said: set[tuple[str, int, int]] = set()
    named = []
    for dot in sorted(dots, key=lambda dot: dot.datum.mark != "best"):
        place = (dot.datum.name, round(dot.x), round(dot.y))
        label = None
        if place not in said:
            free = (each for each in _places(dot) if _inside(each[1]) and not any(_overlap(each[1], u) for u in used))
            label, box = next(free, (None, None))
            used += [] if box is None else [box]
            said.add(place)
        named.append(replace(dot, label=label))
    return tuple(sorted(named, key=lambda dot: (dot.datum.x, dot.datum.key)))


def _around(dot: Dot) -> Box:
    return dot.x - _RING, dot.y - 6, dot.x + _RING, dot.y + 6


def _places(dot: Dot) -> list[tuple[Label, Box]]:
    width, found = _CHARACTER * len(dot.datum.name), []
    for lift in (0.0, -_LINE, _LINE, -2 * _LINE, 2 * _LINE, 3 * _LINE):
        y = dot.y + lift
        right, left = dot.x + _GAP, dot.x - _GAP
        for label, begin in ((Label(right, y + 4, "start"), right), (Label(left, y + 4, "end"), left - width)):
            found.append((label, (begin, y - _LINE / 2, begin + width, y + _LINE / 2)))
    return found


def _inside(box: Box) -> bool:
    return box[0] >= LEFT and box[2] <= RIGHT + 8 and box[1] >= TOP - 12 and box[3] <= BOTTOM


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
