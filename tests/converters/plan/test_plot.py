"""The picture of a plan: what is read off it."""

from __future__ import annotations

from itertools import combinations, pairwise
from typing import Any

import pytest

from edgekit_converters.plan.budget import Budget
from edgekit_converters.plan.plot import drawn
from edgekit_converters.plan.store import PlanFile
from tests.converters.plan.mobilenetv2 import crowded_plan


def picture(plan: PlanFile) -> Any:
    """The axes, laid out."""
    figure = drawn(plan)
    assert figure is not None
    figure.draw_without_rendering()
    return figure.axes[0]


def numbers(axis: Any) -> list[Any]:
    return [text for text in axis.texts if text.get_text().isdigit()]


def test_no_number_lies_on_another_or_on_a_mark() -> None:
    """Fault: the numbers of marks at the same place were printed over each other."""
    axis = picture(crowded_plan())
    boxes = [text.get_window_extent() for text in numbers(axis)]
    assert len(boxes) == len(axis.texts[0].get_text().splitlines()) == 8
    assert not [1 for a, b in combinations(boxes, 2) if a.overlaps(b)]
    middles = [axis.transData.transform(mark.get_offsets()[0]) for mark in axis.collections]
    assert not [1 for box in boxes for x, y in middles if box.x0 < x < box.x1 and box.y0 < y < box.y1]
    frame = axis.get_window_extent()
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)


def test_latencies_are_logarithmic_and_the_axis_says_so() -> None:
    axis = picture(crowded_plan())
    assert axis.get_xscale() == "log"
    assert axis.get_xlabel() == "latency, ms (median; logarithmic)"
    low, high = axis.get_xlim()
    said = [label.get_text() for label in axis.get_xticklabels() if low <= label.get_position()[0] <= high]
    assert said == ["1", "2", "5", "10", "20", "50", "100", "200"]
    ends = [label.get_window_extent() for label in axis.get_xticklabels() if label.get_text() in said]
    assert all(a.x1 < b.x0 for a, b in pairwise(ends))


def test_the_chosen_variant_is_painted_last() -> None:
    plan = crowded_plan()
    axis = picture(plan)
    assert plan.choice.chosen is not None
    assert axis.collections[-1].get_offsets()[0][0] == plan.choice.chosen.latency_ms


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (Budget(latency_ms=20, drop_points=1), ""),
        (Budget(latency_ms=10_000), "; budget 10000 ms, off the plot"),
        (Budget(drop_points=40), "; budget 40 points, off the plot"),
    ],
)
def test_a_budget_far_off_does_not_crush_the_marks(budget: Budget, words: str) -> None:
    axis = picture(crowded_plan(budget))
    assert axis.get_xlabel() == f"latency, ms (median; logarithmic){words}"
    assert axis.get_xlim()[1] < 1000
    assert axis.get_ylim()[1] < 3
    assert len([line for line in axis.lines if line.get_linestyle() == "--"]) == (0 if words else 2)


def test_without_a_measurement_there_is_no_picture() -> None:
    plan = crowded_plan()
    unmeasured = tuple(variant for variant in plan.variants if not variant.measured)
    assert drawn(PlanFile(**{**vars(plan), "variants": unmeasured})) is None
