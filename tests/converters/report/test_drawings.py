"""Axes, places and names in the drawings."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit_converters.report.axes import decades, linear
from edgekit_converters.report.scatter import BOTTOM, LEFT, RIGHT, TOP, Datum, Quality, drawn

SHARE = Quality("q", "agreement")


def datum(key: str, x: float, y: float, half: float = 0.0) -> Datum:
    return Datum(key, key, 0, x, y, y - half, min(1.0, y + half), (key, f"agreement {y}"))


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9), st.booleans())
def test_every_value_lies_on_a_linear_axis(values: list[float], zero: bool) -> None:
    positive = [abs(value) for value in values] if zero else values
    axis = linear("x", positive, start=LEFT, end=RIGHT, zero=zero)
    assert all(LEFT - 0.01 <= axis.place(value) <= RIGHT + 0.01 for value in positive)
    assert 2 <= len(axis.ticks) <= 9
    places = [tick.at for tick in axis.ticks]
    assert places == sorted(set(places))


def test_ticks_are_round_and_a_share_ends_at_one() -> None:
    axis = linear("x", [0.886, 1.0], start=BOTTOM, end=TOP, text="{:g}".format, most=1.0)
    assert [tick.text for tick in axis.ticks] == ["0.875", "0.9", "0.925", "0.95", "0.975", "1"]
    assert axis.place(1.0) == TOP


def test_a_logarithmic_axis_goes_from_power_to_power() -> None:
    axis = decades("error", [2e-6, 0.05, 0.0], start=BOTTOM, end=TOP)
    assert (axis.low, axis.high) == (1e-6, 0.1)
    assert axis.place(0.0) == BOTTOM
    assert axis.place(1e-6) == BOTTOM
    assert axis.place(0.1) == TOP


def test_the_names_of_near_points_do_not_lie_on_each_other() -> None:
    chart = drawn("c", SHARE, "size, MB", [datum(f"recipe-{n}", 5 + n / 100, 0.9 + n / 1000) for n in range(5)])
    boxes = []
    for dot in chart.dots:
        assert dot.label is not None
        width = 7.4 * len(dot.datum.name)
        left = dot.label.x - (width if dot.label.anchor == "end" else 0)
        boxes.append((left, dot.label.y - 11, left + width, dot.label.y + 3))
    for place, a in enumerate(boxes):
        assert not [b for b in boxes[place + 1 :] if a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]]


def test_a_name_without_room_is_left_out_rather_than_drawn_over_another() -> None:
    chart = drawn("c", SHARE, "size, MB", [datum(f"recipe-{n}", 5, 0.9) for n in range(40)])
    assert 0 < sum(dot.label is None for dot in chart.dots) < 40


def test_points_of_one_name_at_one_place_have_it_once() -> None:
    best = replace(datum("second", 5, 0.9), mark="best", name="int8")
    chart = drawn("c", SHARE, "size, MB", [replace(datum("first", 5, 0.9), name="int8"), best, datum("third", 5, 0.9)])
    assert {dot.datum.key for dot in chart.dots if dot.label} == {"second", "third"}
    assert [dot.datum.key for dot in chart.dots] == ["first", "second", "third"]


@pytest.mark.parametrize("places", [[9.9], [0.1], [0.1, 9.9], [10.0, 7.0, 4.0]])
def test_the_words_at_the_line_of_the_original_are_on_no_point(places: list[float]) -> None:
    data = [datum(f"d{place}", place, 0.9) for place in places]
    chart = drawn("c", replace(SHARE, original=0.9), "size, MB", data)
    assert chart.reference is not None
    right = chart.reference.label.x
    left = right - 7.4 * len(chart.reference.text)
    assert LEFT <= left < right <= RIGHT
    assert not [dot for dot in chart.dots if left < dot.x < right]


def test_the_front_is_what_nothing_beats_in_this_drawing() -> None:
    data = [datum("cheap", 1, 0.8), datum("good", 3, 0.95), datum("beaten", 4, 0.9), datum("best", 6, 1.0)]
    chart = drawn("c", SHARE, "latency, ms", data, front=True)
    corners = [float(number) for number in re.findall(r"V([\d.]+)", chart.line)]
    at = {dot.datum.key: dot.y for dot in chart.dots}
    assert corners == [at["good"], at["best"]]
    assert chart.line.startswith("M")


def test_intervals_are_inside_the_drawing() -> None:
    chart = drawn("c", SHARE, "size, MB", [datum("a", 5, 0.967, 0.08)])
    assert TOP <= chart.dots[0].high < chart.dots[0].y < chart.dots[0].low <= BOTTOM


@pytest.mark.parametrize("values", [[0.0], [3.0], [0.0, 0.0]])
def test_equal_values_still_make_an_axis(values: list[float]) -> None:
    axis = linear("x", values, start=LEFT, end=RIGHT, zero=True)
    assert axis.high > axis.low
