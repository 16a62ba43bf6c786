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
_NEARER, _SAME_PLACE, _CLEAR = 1.3, 0.45, 0.5
"""A name without a line is so many times nearer to its own point than to any other; points nearer to each other than
this many gaps count as one; a line keeps so many gaps off other points."""


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


def placed(
    wanted: Sequence[Wanted],
    area: Box,
    points: Sequence[Box],
    *,
    barred: Sequence[Box] = (),
    lines: Sequence[Line] = (),
) -> list[Spot | None]:
    """Find a place for each name, the first ones first.

    Args:
        wanted: The most important first.
        area: No name leaves it.
        points: All points, those without a name too. No name covers one or stands as near to another as to its own,
            and no leader touches one but its own.
        barred: No name covers these, and no leader crosses them.
        lines: Names keep off these where they can.

    Returns:
        A place for each; ``None`` where there is none within reach.
    """
    found: list[Spot | None] = []
    around = _Around(area, points, barred)
    for want in wanted:
        kept = [spot for spot in found if spot is not None]
        free = [spot for spot in _spots(want) if _is_free(spot, want, around, kept)]
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


@dataclass(frozen=True)
class _Around:
    """What names keep off; the arguments of `placed`."""

    area: Box
    points: Sequence[Box]
    barred: Sequence[Box]


def _is_free(spot: Spot, want: Wanted, around: _Around, kept: Sequence[Spot]) -> bool:
    if not inside(spot.box, around.area) or any(overlap(spot.box, box) for box in (*around.points, *around.barred)):
        return False
    leaders = [other.leader for other in kept if other.leader is not None]
    if any(overlap(spot.box, other.box) for other in kept) or any(crosses(line, spot.box) for line in leaders):
        return False
    middles = [((left + right) / 2, (top + bottom) / 2) for left, top, right, bottom in around.points]
    others = [at for at in middles if math.dist(at, (want.x, want.y)) > _SAME_PLACE * want.gap]
    if spot.leader is None:
        own = _apart(spot.box, want.x, want.y)
        return all(_apart(spot.box, *at) > _NEARER * own for at in others)
    walls = [box for box in around.barred if not (box[0] <= want.x <= box[2] and box[1] <= want.y <= box[3])]
    if any(crosses(spot.leader, box) for box in (*walls, *(other.box for other in kept))):
        return False
    return not any(_cut(spot.leader, line) for line in leaders) and all(
        _off(spot.leader, *at) > _CLEAR * want.gap for at in others
    )


def _apart(box: Box, x: float, y: float) -> float:
    """How far a box is from a point."""
    return math.hypot(max(box[0] - x, 0.0, x - box[2]), max(box[1] - y, 0.0, y - box[3]))


def _off(line: Line, x: float, y: float) -> float:
    """How far a line is from a point."""
    dx, dy = line.x2 - line.x1, line.y2 - line.y1
    length = dx * dx + dy * dy
    along = 0.0 if length == 0 else ((x - line.x1) * dx + (y - line.y1) * dy) / length
    along = min(1.0, max(0.0, along))
    return math.hypot(line.x1 + along * dx - x, line.y1 + along * dy - y)


def _cut(a: Line, b: Line) -> bool:
    """Whether two lines cut each other."""

    def side(line: Line, x: float, y: float) -> float:
        return (line.x2 - line.x1) * (y - line.y1) - (line.y2 - line.y1) * (x - line.x1)

    apart = side(a, b.x1, b.y1) * side(a, b.x2, b.y2) > 0 or side(b, a.x1, a.y1) * side(b, a.x2, a.y2) > 0
    return not apart
