"""Places for names: free of each other, of the points and of lines that lead elsewhere."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit_converters.labelling import Box, Line, Spot, Wanted, crosses, inside, overlap, placed

AREA: Box = (0, 0, 300, 200)
PLACES = st.tuples(st.floats(0, 300), st.floats(0, 200))


def wanted(x: float, y: float, width: float = 60, reach: float = 120) -> Wanted:
    return Wanted(x, y, width, 15, 12, reach)


def around(x: float, y: float) -> Box:
    return x - 8, y - 6, x + 8, y + 6


@given(st.lists(PLACES, min_size=1, max_size=12))
def test_no_name_lies_on_another_on_a_point_or_outside(places: list[tuple[float, float]]) -> None:
    points = [around(*place) for place in places]
    spots = [spot for spot in placed([wanted(*place) for place in places], AREA, points) if spot is not None]
    assert all(inside(spot.box, AREA) for spot in spots)
    assert not [1 for spot in spots for point in points if overlap(spot.box, point)]
    assert not [1 for a, b in combinations(spots, 2) if overlap(a.box, b.box)]
    leaders = [(spot, spot.leader) for spot in spots if spot.leader is not None]
    assert not [1 for spot, line in leaders for other in spots if other is not spot and crosses(line, other.box)]


@given(PLACES)
def test_the_first_name_always_finds_a_place(place: tuple[float, float]) -> None:
    (spot,) = placed([wanted(*place)], AREA, [around(*place)])
    assert spot is not None


def test_a_name_stands_beside_its_point_and_needs_no_line() -> None:
    (spot,) = placed([wanted(100, 100)], AREA, [around(100, 100)])
    assert spot == Spot((112, 92.5, 172, 107.5), "start")
    assert spot.x == 112


@pytest.mark.parametrize(("x", "anchor"), [(290, "end"), (10, "start")])
def test_at_an_edge_it_stands_inwards(x: float, anchor: str) -> None:
    (spot,) = placed([wanted(x, 100)], AREA, [around(x, 100)])
    assert spot is not None
    assert spot.anchor == anchor


def test_a_line_leads_to_a_name_that_stands_off() -> None:
    walls = [(0, 60, 60, 140), (60, 107, 140, 140), (60, 60, 140, 93), (140, 60, 300, 140)]
    (off,) = placed([wanted(100, 100)], AREA, [around(100, 100)], barred=[*walls[:3]])
    assert off is not None
    assert off.leader is not None
    assert math.hypot(off.leader.x1 - 100, off.leader.y1 - 100) == pytest.approx(0.85 * 12)
    assert placed([wanted(100, 100)], AREA, [around(100, 100)], barred=walls) == [None]  # each line would cross one


def test_a_name_is_never_taken_for_that_of_a_neighbour() -> None:
    """Fault: two marks side by side, and the name of the left one at the right of the right one."""
    points = [around(100, 100), around(112, 100)]
    spots = placed([wanted(100, 100), wanted(112, 100)], AREA, points)
    for spot, own, other in zip(spots, (100, 112), (112, 100), strict=True):
        assert spot is not None
        if spot.leader is None:
            assert abs(spot.x - own) < abs(spot.x - other)
        else:
            assert not crosses(spot.leader, (other - 5, 95, other + 5, 105))
    assert spots[0] is not None
    assert spots[0].anchor == "end"


def test_points_at_one_place_each_have_their_name() -> None:
    spots = placed([wanted(100, 100), wanted(101, 100)], AREA, [around(100, 100), around(101, 100)])
    assert None not in spots


def test_lines_are_kept_off_where_there_is_a_choice() -> None:
    across = Line(115, 0, 115, 200)
    (spot,) = placed([wanted(100, 100)], AREA, [around(100, 100)], lines=[across])
    assert spot is not None
    assert spot.anchor == "end"
    everywhere = [Line(0, y, 300, y) for y in range(0, 200, 4)]
    (forced,) = placed([wanted(100, 100)], AREA, [around(100, 100)], lines=everywhere)
    assert forced is not None


def test_what_is_out_of_reach_has_no_name() -> None:
    wide = [(0, 60, 300, 93), (0, 107, 300, 140), (110, 60, 300, 140), (0, 60, 90, 140)]
    assert placed([wanted(100, 100, reach=30)], AREA, [around(100, 100)], barred=wide) == [None]


@pytest.mark.parametrize(
    ("line", "runs"),
    [
        (Line(0, 5, 20, 5), True),
        (Line(0, 15, 20, 15), False),
        (Line(5, 5, 6, 6), True),
        (Line(0, 0, 4, 20), False),
        (Line(15, 0, 15, 20), False),
    ],
)
def test_whether_a_line_runs_through_a_box(line: Line, runs: bool) -> None:
    assert crosses(line, (3, 0, 10, 10)) is runs
