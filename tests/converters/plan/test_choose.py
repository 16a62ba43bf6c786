"""The choice, as properties over made-up measurements."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit_converters.plan.budget import Budget
from edgekit_converters.plan.choose import PREFERENCES, better_axes, choose, missed, nearest, pareto_front, with_rounds
from edgekit_converters.plan.variants import Miss, Piece, Variant

PLAIN = Variant(
    Piece("tflite", "int8"), "litert", 1, "b", "m.tflite", 4_000_000, 0.98, None, 0.5, 0.1, None, 10.0, 90_000_000
)
BUDGET = Budget(latency_ms=20.0, size_mb=5.0, memory_mb=150.0, drop_points=1.0)


def variant(threads: int, **changes: object) -> Variant:
    return replace(PLAIN, threads=threads, **changes)  # type: ignore[arg-type]


@st.composite
def plans(draw: st.DrawFn) -> list[Variant]:
    rows = []
    for threads in range(1, draw(st.integers(1, 12)) + 1):
        drop = draw(st.sampled_from([-0.5, 0.0, 0.25, 1.0, 4.0]))
        quality = Miss("drop", drop, 1.0) if drop > 1.0 else None
        latency = draw(st.one_of(st.none(), st.floats(0.5, 60.0)))
        size, memory = draw(st.integers(100_000, 15_000_000)), draw(st.integers(40_000_000, 300_000_000))
        error = draw(st.sampled_from([None, None, None, "crashed"]))
        rows.append(
            variant(threads, latency_ms=latency, size_bytes=size, memory_bytes=memory, drop_points=drop,
                    quality=quality, error=error)
        )  # fmt: skip
    return rows


@given(plans(), st.sampled_from(PREFERENCES))
def test_the_chosen_one_fits_and_no_other_that_fits_is_better_on_the_preferred_axis(
    rows: list[Variant], prefer: str
) -> None:
    choice = choose(rows, BUDGET, prefer)
    fitting = [row for row in rows if row.latency_ms is not None and row.error is None and not missed(row, BUDGET)]
    assert (choice.chosen is None) == (not fitting)
    if choice.chosen is not None:
        assert choice.chosen in fitting
        for other in fitting:
            assert prefer not in better_axes(other, choice.chosen)
            worse = better_axes(choice.chosen, other)
            assert worse or not better_axes(other, choice.chosen)  # nothing that fits beats it on every axis


@given(plans())
def test_the_front_holds_what_is_not_beaten_and_everything_else_is_beaten_by_it(rows: list[Variant]) -> None:
    front = pareto_front(rows)
    measured = [row for row in rows if row.latency_ms is not None and row.error is None]
    assert bool(front) == bool(measured)
    on_front = [row for row in measured if row.name in front]
    for row in measured:
        beaten = any(better_axes(other, row) and not better_axes(row, other) for other in on_front)
        assert beaten == (row.name not in front)


@given(plans(), st.randoms())
def test_the_order_of_the_variants_does_not_matter(rows: list[Variant], order: object) -> None:
    shuffled = list(rows)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    assert choose(shuffled, BUDGET).chosen == choose(rows, BUDGET).chosen
    assert choose(shuffled, BUDGET).front == choose(rows, BUDGET).front


@given(plans())
def test_a_looser_budget_never_chooses_something_slower(rows: list[Variant]) -> None:
    tight = choose(rows, BUDGET).chosen
    loose = choose(rows, replace(BUDGET, size_mb=50.0, memory_mb=None)).chosen
    if tight is not None:
        assert loose is not None
        assert "latency" not in better_axes(tight, loose)


@given(plans())
def test_every_variant_is_told_why(rows: list[Variant]) -> None:
    choice = choose(rows, BUDGET)
    assert set(choice.why) == {row.name for row in rows}
    assert all(choice.why.values())


def test_equal_within_the_noise_the_better_answers_win_and_then_fewer_threads() -> None:
    fast = variant(1, latency_ms=10.0, drop_points=0.5)
    same = variant(2, latency_ms=10.01, drop_points=0.0)
    more = variant(4, latency_ms=10.01, drop_points=0.0)
    assert choose([fast, more, same], BUDGET).chosen == same


def test_a_metric_above_the_original_is_luck_and_wins_nothing() -> None:
    lucky, plain = variant(2, drop_points=-2.0), variant(1, drop_points=0.0)
    assert choose([lucky, plain], BUDGET).chosen == plain


def test_what_misses_is_told_with_what_is_allowed() -> None:
    slow = variant(1, latency_ms=23.1, size_bytes=6_000_000)
    assert choose([slow], BUDGET).why[slow.name] == "latency 23.1 ms, allowed 20 ms; size 6 MB, allowed 5 MB"
    unmeasured = variant(1, latency_ms=None, size_bytes=6_000_000)
    assert choose([unmeasured], BUDGET).why[unmeasured.name] == "size 6 MB, allowed 5 MB; not measured"


def test_the_loser_is_told_what_is_worse_and_what_speaks_for_it() -> None:
    chosen, small = variant(1, latency_ms=5.0), variant(2, latency_ms=10.0, size_bytes=2_000_000)
    poor = variant(4, latency_ms=10.0)
    choice = choose([chosen, small, poor], BUDGET)
    assert choice.why[small.name] == "fits, but 2.00x the latency; 0.50x the size"
    assert choice.why[poor.name] == "fits, but 2.00x the latency; nothing speaks for it"
    assert choice.front == {chosen.name, small.name}


def test_the_nearest_miss_of_each_axis_says_what_to_loosen() -> None:
    rows = [
        variant(1, latency_ms=25.12),
        variant(2, latency_ms=40.0),
        variant(3, memory_bytes=160_400_000),
        variant(4, size_bytes=9_000_000, memory_bytes=400_000_000),
        variant(5, quality=Miss("drop", 1.5, 1.0), drop_points=1.5),
    ]
    assert nearest(rows, BUDGET) == [
        f"latency=25.2ms would be met by {rows[0].name}, allowed is 20 ms",
        f"memory=160.4MB would be met by {rows[2].name}, allowed is 150 MB",
        f"drop=1.5% would be met by {rows[4].name}, allowed is 1 points",
    ]


def test_where_no_single_axis_is_enough_the_closest_is_named_with_all_its_misses() -> None:
    near = variant(1, latency_ms=22.0, size_bytes=6_000_000)
    far = variant(2, latency_ms=90.0, size_bytes=6_000_000)
    assert nearest([far, near], BUDGET) == [
        f"the closest is {near.name}: latency 22 ms, allowed 20 ms; size 6 MB, allowed 5 MB"
    ]


def test_what_to_loosen_is_rounded_up_so_that_it_fits() -> None:
    row = variant(1, latency_ms=20.0401)
    (line,) = nearest([row], BUDGET)
    assert line.startswith("latency=20.1ms ")
    assert not missed(row, replace(BUDGET, latency_ms=20.1))


def test_several_rounds_count_by_their_median() -> None:
    found = with_rounds(PLAIN, [(10.0, 80), (90.0, None), (12.0, 60)])
    assert (found.latency_ms, found.memory_bytes) == (12.0, 70)


@pytest.mark.parametrize(("miss", "excess"), [(Miss("latency", 30, 20), 1.5), (Miss("agreement", 90, 95), 2.0)])
def test_how_many_times_too_much(miss: Miss, excess: float) -> None:
    assert miss.excess == pytest.approx(excess)
