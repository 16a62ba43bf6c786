"""Axes, places and names in the drawings."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit_converters.report.axes import linear, logarithmic
from edgekit_converters.report.scatter import BOTTOM, LATENCY, LEFT, RIGHT, SIZE, TOP, Datum, Quality, drawn

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


@given(st.lists(st.floats(1e-7, 1e7), min_size=1, max_size=9))
def test_every_value_lies_on_a_logarithmic_axis(values: list[float]) -> None:
    axis = logarithmic("x", values, start=LEFT, end=RIGHT)
    assert all(LEFT - 0.01 <= axis.place(value) <= RIGHT + 0.01 for value in values)
    assert 2 <= len(axis.ticks) <= 8
    places = [tick.at for tick in axis.ticks]
    assert places == sorted(set(places))
    marks = [float(tick.text) for tick in axis.ticks]
    assert all(f"{mark:.0e}"[0] in "125" for mark in marks)
    assert axis.low <= min(values) <= max(values) <= axis.high


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([1.73, 196], "1 2 5 10 20 50 100 200"),
        ([0.4, 7], "0.2 0.5 1 2 5 10"),
        ([0.02, 700], "0.1 1 10 100 1000"),
        ([3.0], "2 5"),
        ([5.0], "2 5"),
    ],
)
def test_ticks_of_a_logarithmic_axis(values: list[float], said: str) -> None:
    axis = logarithmic("x", values, start=LEFT, end=RIGHT)
    assert " ".join(tick.text for tick in axis.ticks) == said


def test_an_error_of_zero_lies_at_the_low_end() -> None:
    axis = logarithmic("error", [2e-6, 0.05, 0.0], start=BOTTOM, end=TOP)
    assert axis.place(0.0) == axis.place(2e-6) == BOTTOM
    assert axis.place(0.05) == TOP


def test_one_slow_variant_does_not_crush_the_others() -> None:
    """Fault: with a linear axis, everything below 20 ms lay in a tenth of the width."""
    chart = drawn("c", SHARE, LATENCY, [datum(f"d{ms}", ms, 0.9) for ms in (1.73, 3.5, 15.4, 196)])
    at = {dot.datum.x: dot.x for dot in chart.dots}
    assert at[3.5] - at[1.73] > 40
    assert at[15.4] - at[3.5] > 90
    assert chart.x.label == "latency, ms (logarithmic)"
    assert "latency, ms (logarithmic) from 1.73 to 196" in chart.description


def test_values_within_a_decade_begin_at_zero() -> None:
    chart = drawn("c", SHARE, LATENCY, [datum("a", 1.1, 0.9), datum("b", 10.9, 0.9)])
    assert (chart.x.label, chart.x.low) == ("latency, ms", 0.0)


def test_sizes_have_the_unit_that_fits() -> None:
    small = drawn("c", SHARE, SIZE, [datum("a", 45_791, 0.9), datum("b", 104_483, 0.9)])
    assert small.x.label == "size, kB"
    assert [tick.text for tick in small.x.ticks] == ["0", "25", "50", "75", "100", "125"]
    large = drawn("c", SHARE, SIZE, [datum("a", 900_000, 0.9), datum("b", 14_000_000, 0.9)])
    assert large.x.label == "size, MB (logarithmic)"


def test_of_a_plan_the_front_the_chosen_and_the_one_by_hand_are_named() -> None:
    """Fault: names of forty variants were piled up beside their points."""
    crowd = [datum(f"crowd-{n}", 2 + n / 10, 0.9) for n in range(40)]
    told = [replace(datum("chosen", 1.9, 0.95), mark="best"), replace(datum("by-hand", 3, 0.85), mark="baseline")]
    chart = drawn("c", SHARE, LATENCY, [*crowd, *told, datum("fast", 1.0, 0.9)], front=True)
    assert {dot.datum.key for dot in chart.dots if dot.label} == {"chosen", "by-hand", "fast"}
    assert [dot.datum.key for dot in chart.dots][-2:] == ["by-hand", "chosen"]  # painted over the others
    keyboard = sorted(chart.dots, key=lambda dot: dot.place)
    assert [dot.x for dot in keyboard] == sorted(dot.x for dot in chart.dots)


def test_a_name_without_room_is_left_out_rather_than_drawn_over_another() -> None:
    chart = drawn("c", SHARE, SIZE, [datum(f"recipe-{n}", 5e6, 0.9) for n in range(40)])
    assert 0 < sum(dot.label is None for dot in chart.dots) < 40


def test_points_of_one_name_at_one_place_have_it_once() -> None:
    best = replace(datum("second", 5, 0.9), mark="best", name="int8")
    chart = drawn("c", SHARE, SIZE, [replace(datum("first", 5, 0.9), name="int8"), best, datum("third", 5, 0.9)])
    assert {dot.datum.key for dot in chart.dots if dot.label} == {"second", "third"}
    assert [dot.datum.key for dot in sorted(chart.dots, key=lambda dot: dot.place)] == ["first", "second", "third"]


@pytest.mark.parametrize("places", [[9.9], [0.1], [0.1, 9.9], [10.0, 7.0, 4.0]])
def test_the_words_at_the_line_of_the_original_are_on_no_point(places: list[float]) -> None:
    data = [datum(f"d{place}", place, 0.9) for place in places]
    chart = drawn("c", replace(SHARE, original=0.9), SIZE, data)
    assert chart.reference is not None
    right, baseline = chart.reference.label.x, chart.reference.label.y
    left = right - 9.1 * len(chart.reference.text)
    assert LEFT <= left < right <= RIGHT
    assert not [dot for dot in chart.dots if left < dot.x < right and baseline - 13 < dot.y < baseline + 4]


def test_the_front_is_what_nothing_beats_in_this_drawing() -> None:
    data = [datum("cheap", 1, 0.8), datum("good", 3, 0.95), datum("beaten", 4, 0.9), datum("best", 6, 1.0)]
    chart = drawn("c", SHARE, LATENCY, data, front=True)
    corners = [float(number) for number in re.findall(r"V([\d.]+)", chart.line)]
    at = {dot.datum.key: dot.y for dot in chart.dots}
    assert corners == [at["good"], at["best"]]
    assert chart.line.startswith("M")


def test_intervals_are_inside_the_drawing() -> None:
    chart = drawn("c", SHARE, SIZE, [datum("a", 5, 0.967, 0.08)])
    assert TOP <= chart.dots[0].high < chart.dots[0].y < chart.dots[0].low <= BOTTOM


@pytest.mark.parametrize("values", [[0.0], [3.0], [0.0, 0.0]])
def test_equal_values_still_make_an_axis(values: list[float]) -> None:
    axis = linear("x", values, start=LEFT, end=RIGHT, zero=True)
    assert axis.high > axis.low
