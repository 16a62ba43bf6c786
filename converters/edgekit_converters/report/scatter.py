"""Artifacts as points: how well they answer against what they cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from edgekit_converters.labelling import Box, Line, Wanted, inside, overlap, placed
from edgekit_converters.report import words
from edgekit_converters.report.axes import Axis, linear, logarithmic, spans_decades

WIDTH, HEIGHT = 420, 290
LEFT, RIGHT, TOP, BOTTOM = 68, 396, 16, 242
_AREA: Box = (LEFT, TOP - 12, RIGHT + 16, BOTTOM)
# Letters as they are on a phone, where a drawing is small and they are larger in it (style.css).
_NAME, _NAME_IN_BOLD, _SMALL = 9.7, 11.2, 9.1
LINE, _GAP, _RING = 18.0, 13.0, 11.0
_NEAR, _FAR = 62.0, 160.0
"""How far from its point a name may stand, and those that matter most."""
_REFERENCE_STEP = 10


@dataclass(frozen=True)
class Cost:
    """What the width of a drawing stands for.

    Attributes:
        name: Of the quantity.
        units: Units with what one of them is, the larger ones first.
    """

    name: str
    units: tuple[tuple[str, float], ...]

    def unit(self, values: Sequence[float]) -> tuple[str, float]:
        """The largest unit of which some value has one."""
        return next((unit for unit in self.units if max(values) >= unit[1]), self.units[-1])


SIZE = Cost("size", (("MB", 1e6), ("kB", 1e3)))
LATENCY = Cost("latency", (("ms", 1.0),))


@dataclass(frozen=True)
class Datum:
    """What one point stands for.

    Attributes:
        key: The same for the same artifact in every drawing.
        name: Short, beside the point.
        detail: In a line below the name.
        group: Number of the colour and shape.
        x: What it costs, in milliseconds or bytes.
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
    detail: str = ""


@dataclass(frozen=True)
class Label:
    """Where a text stands.

    Attributes:
        x: Where it is anchored.
        y: Its baseline.
        anchor: ``start``, ``middle`` or ``end``.
        leader: From the point to it; ``None`` where it stands beside the point.
    """

    x: float
    y: float
    anchor: str
    leader: Line | None = None


@dataclass(frozen=True)
class Dot:
    """A point at its place.

    Attributes:
        datum: What it stands for.
        place: Number among the dots from left to right.
        x: In units of the drawing.
        y: In units of the drawing.
        low: Place of the lower end of the interval.
        high: Place of the upper end.
        front: Whether no other point of the drawing beats it in both directions.
        label: Where its name stands; ``None`` where there is no room, or where others matter more.
    """

    datum: Datum
    place: int
    x: float
    y: float
    low: float
    high: float
    front: bool = False
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
        dots: Points, those that matter most last, so that none is drawn over them.
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


def drawn(name: str, quality: Quality, cost: Cost, data: Sequence[Datum], *, front: bool = False) -> Scatter:
    """Place points and their names.

    Args:
        name: Unique on the page.
        quality: What the height stands for.
        cost: What the width stands for.
        data: At least one.
        front: Whether to draw the Pareto front as a line; then only its points, the best one and the one that a person
            would have picked are named.
    """
    values = [datum.x for datum in data]
    unit, one = cost.unit(values)
    x, y = _width(f"{cost.name}, {unit}", [value / one for value in values]), _height(quality, data)
    ordered = sorted(data, key=lambda datum: (datum.x, datum.key))
    dots = _on_the_front([_dot(datum, place, x.place(datum.x / one), y) for place, datum in enumerate(ordered)])
    best = max(data, key=lambda datum: (datum.mark == "best", datum.y))
    description = (
        f"{len(dots)} points, {x.label} from {min(values) / one:.3g} to {max(values) / one:.3g}; "
        f"{best.name}: {', '.join(best.lines[1:])}."
    )
    line = _path(dots) if front else ""
    reference, taken = _reference(quality, y, dots)
    named = _named(dots, taken, [dot for dot in dots if not front or _importance(dot)], _steps(dots) if front else ())
    painted = tuple(sorted(named, key=_importance))
    return Scatter(name, f"{quality.label} against {cost.name}", description, x, y, painted, line, reference)


def _width(label: str, values: Sequence[float]) -> Axis:
    """From 0, or logarithmic where the small values would lie on each other."""
    if spans_decades(values):
        return logarithmic(f"{label} (logarithmic)", values, start=LEFT, end=RIGHT)
    return linear(label, values, start=LEFT, end=RIGHT, zero=True)


def _reference(quality: Quality, y: Axis, dots: Sequence[Dot]) -> tuple[Reference | None, tuple[Box, ...]]:
    """The line of the original with its words where no point is, if there is such a place; and the room they take."""
    if quality.original is None:
        return None, ()
    value = words.percent(quality.original) if quality.share else f"{quality.original:.4g}"
    text, at = f"original {value}", y.place(quality.original)
    width, points = _SMALL * len(text), [_around(dot) for dot in dots]
    boxes = [
        (right - width, top, right, top + LINE - 2)
        for top in (at - LINE - 1, at + 3, at - LINE - 7, at + 9)
        for right in (*range(RIGHT, round(LEFT + width), -_REFERENCE_STEP), LEFT + width)
    ]
    free = (box for box in boxes if inside(box, _AREA) and not any(overlap(box, point) for point in points))
    box = next(free, boxes[0])
    label = Label(round(box[2], 2), round(box[3] - 4, 2), "end")
    return Reference(at, text, label), (box, (LEFT, at - 1, RIGHT, at + 1))


def _height(quality: Quality, data: Sequence[Datum]) -> Axis:
    if quality.logarithmic:
        return logarithmic(quality.label, [datum.y for datum in data], start=BOTTOM, end=TOP, text=_power)
    values = [end for datum in data for end in (datum.low, datum.high)]
    if quality.original is not None:
        values.append(quality.original)
    text: Callable[[float], str] = (lambda value: f"{100 * value:g} %") if quality.share else "{:g}".format
    most = 1.0 if quality.share else float("inf")
    return linear(quality.label, values, start=BOTTOM, end=TOP, text=text, most=most)


def _power(value: float) -> str:
    digit, _, power = f"{value:.0e}".partition("e")
    return f"{digit}e{int(power)}"


def _dot(datum: Datum, place: int, x: float, y: Axis) -> Dot:
    return Dot(datum, place, x, y.place(datum.y), y.place(datum.low), y.place(datum.high))


def _on_the_front(dots: Sequence[Dot]) -> list[Dot]:
    """The dots, those marked that no other dot of this drawing beats in both directions."""
    best, found = math.inf, set()
    for dot in sorted(dots, key=lambda dot: (dot.x, dot.y)):
        if dot.y < best:
            best = dot.y
            found.add(dot.place)
    return [replace(dot, front=dot.place in found) for dot in dots]


def _path(dots: Sequence[Dot]) -> str:
    """Steps along the front, as an SVG path."""
    path = ""
    for dot in (dot for dot in dots if dot.front):
        path += f"H{dot.x} V{dot.y} " if path else f"M{dot.x} {dot.y} "
    return path.strip()


def _steps(dots: Sequence[Dot]) -> tuple[Line, ...]:
    """The same as lines."""
    found: list[Line] = []
    front = [dot for dot in dots if dot.front]
    for a, b in pairwise(front):
        found += [Line(a.x, a.y, b.x, a.y), Line(b.x, a.y, b.x, b.y)]
    return tuple(found)


def _importance(dot: Dot) -> int:
    return {"best": 3, "baseline": 2}.get(dot.datum.mark, int(dot.front))


def _named(dots: Sequence[Dot], taken: Sequence[Box], shown: Sequence[Dot], lines: Sequence[Line]) -> list[Dot]:
    """The dots, some with a place for their name, the most important first.

    Points of one name at one place have it once.
    """
    said: set[tuple[str, str, int, int]] = set()
    first = []
    for dot in sorted(shown, key=_importance, reverse=True):
        place = (dot.datum.name, dot.datum.detail, round(dot.x), round(dot.y))
        if place not in said:
            said.add(place)
            first.append(dot)
    whiskers = [Line(dot.x, dot.low, dot.x, dot.high) for dot in dots if dot.low != dot.high]
    spots = placed(
        [_wanted(dot) for dot in first], _AREA, [*map(_around, dots)], barred=taken, lines=[*lines, *whiskers]
    )
    labels = {}
    for dot, spot in zip(first, spots, strict=True):
        if spot is not None:
            labels[dot.place] = Label(round(spot.x, 2), round(spot.box[1] + 0.75 * LINE, 2), spot.anchor, spot.leader)
    return [replace(dot, label=labels.get(dot.place)) for dot in dots]


def _wanted(dot: Dot) -> Wanted:
    datum = dot.datum
    letter = _NAME_IN_BOLD if datum.mark == "best" else _NAME
    width = max(letter * len(datum.name), _SMALL * len(datum.detail))
    height = LINE * (2 if datum.detail else 1)
    return Wanted(dot.x, dot.y, width, height, _GAP, _FAR if _importance(dot) else _NEAR)


def _around(dot: Dot) -> Box:
    return dot.x - _RING, dot.y - 7, dot.x + _RING, dot.y + 7
