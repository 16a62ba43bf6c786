"""Names beside the points of a drawing: on no other name, on no point; a line leads to those that stand further off."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Box = tuple[float, float, float, float]
"""Left, upper, right and lower end."""

_DIRECTIONS = (0, 180, 30, -30, 150, -150, 90, -90, 60, -60, 120, -120)
"""Degrees, those where a name is read most easily first; upwards is negative."""
_STEP = 7.0
_AFAR = 1.5
"""How many times the gap a name may stand off before a line has to lead to it."""


@dataclass(frozen=True)
class Wanted:
    """A name that looks for a place.

    Attributes:
        x: Of its point.
        y: Of its point; downwards.
        width: Of the name.
        height: Of the name.
        gap: From the middle of the point to the name beside it.
        reach: The same at most.
    """

    x: float
    y: float
    width: float
    height: float
    gap: float
    reach: float


@dataclass(frozen=True)
class Line:
    """A straight line.

    Attributes:
        x1: One end.
        y1: One end.
        x2: The other end.
        y2: The other end.
    """

    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True)
class Spot:
    """The place of a name.

    Attributes:
        box: What it may fill.
        anchor: ``start``, ``middle`` or ``end``: the side of the box that it keeps to.
        leader: From the point to the name; ``None`` for a name beside its point.
    """

    box: Box
    anchor: str
    leader: Line | None = None

    @property
    def x(self) -> float:
        """Where its text is anchored."""
        left, _, right, _ = self.box
        return {"start": left, "middle": (left + right) / 2, "end": right}[self.anchor]


def placed(wanted: Sequence[Wanted], area: Box, points: Sequence[Box], lines: Sequence[Line] = ()) -> list[Spot | None]:
    """Find a place for each name, the first ones first.

    Args:
        wanted: The most important first.
        area: No name leaves it.
        points: No name covers one, and no leader crosses one but its own.
        lines: Names keep off these where they can.

    Returns:
        A place for each; ``None`` where there is none within reach.
    """
    found: list[Spot | None] = []
    for want in wanted:
        kept = [spot for spot in found if spot is not None]
        free = [spot for spot in _spots(want) if _is_free(spot, want, area, points, kept)]
        clear = (spot for spot in free if not any(crosses(line, spot.box) for line in lines))
        found.append(next(clear, free[0] if free else None))
    return found


def overlap(a: Box, b: Box) -> bool:
    """Whether two boxes share more than an edge."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def inside(box: Box, area: Box) -> bool:
    """Whether a box lies in an area."""
    return box[0] >= area[0] and box[1] >= area[1] and box[2] <= area[2] and box[3] <= area[3]


def crosses(line: Line, box: Box) -> bool:
    """Whether a line runs through a box (clipping of Liang and Barsky, 1984)."""
    dx, dy, begin, end = line.x2 - line.x1, line.y2 - line.y1, 0.0, 1.0
    sides = ((-dx, line.x1 - box[0]), (dx, box[2] - line.x1), (-dy, line.y1 - box[1]), (dy, box[3] - line.y1))
    for slope, room in sides:
        if slope == 0:
            if room <= 0:
                return False
        elif slope < 0:
            begin = max(begin, room / slope)
        else:
            end = min(end, room / slope)
    return begin < end


def _spots(want: Wanted) -> Iterator[Spot]:
    off = want.gap
    while off <= want.reach:
        for degrees in _DIRECTIONS:
            yield _spot(want, off, math.radians(degrees))
        off += _STEP


def _spot(want: Wanted, off: float, angle: float) -> Spot:
    x, y = want.x + off * math.cos(angle), want.y + off * math.sin(angle)
    half = want.height / 2
    if abs(math.cos(angle)) < 0.3:
        anchor, left, y = "middle", x - want.width / 2, y + math.copysign(half, math.sin(angle))
    elif math.cos(angle) > 0:
        anchor, left = "start", x
    else:
        anchor, left = "end", x - want.width
    box = (left, y - half, left + want.width, y + half)
    return Spot(box, anchor, _leader(want, box, anchor, angle) if off > _AFAR * want.gap else None)


def _leader(want: Wanted, box: Box, anchor: str, angle: float) -> Line:
    """From the rim of the point to the edge of the name, with a little room at the name."""
    rim = 0.85 * want.gap
    left, top, right, bottom = box
    middle = (top + bottom) / 2
    below = bottom + 1 if angle < 0 else top - 1
    x2, y2 = {"start": (left - 3, middle), "end": (right + 3, middle), "middle": ((left + right) / 2, below)}[anchor]
    length = math.hypot(x2 - want.x, y2 - want.y)
    return Line(want.x + (x2 - want.x) * rim / length, want.y + (y2 - want.y) * rim / length, x2, y2)


def _is_free(spot: Spot, want: Wanted, area: Box, points: Sequence[Box], kept: Sequence[Spot]) -> bool:
    if not inside(spot.box, area) or any(overlap(spot.box, point) for point in points):
        return False
    leaders = [other.leader for other in kept if other.leader is not None]
    if any(overlap(spot.box, other.box) for other in kept) or any(crosses(line, spot.box) for line in leaders):
        return False
    if spot.leader is None:
        return True
    others = [point for point in points if not (point[0] <= want.x <= point[2] and point[1] <= want.y <= point[3])]
    barred = [*others, *(other.box for other in kept)]
    return not any(crosses(spot.leader, box) for box in barred) and not any(_cut(spot.leader, line) for line in leaders)


def _cut(a: Line, b: Line) -> bool:
    """Whether two lines cut each other."""

    def side(line: Line, x: float, y: float) -> float:
        return (line.x2 - line.x1) * (y - line.y1) - (line.y2 - line.y1) * (x - line.x1)

    apart = side(a, b.x1, b.y1) * side(a, b.x2, b.y2) > 0 or side(b, a.x1, a.y1) * side(b, a.x2, a.y2) > 0
    return not apart
