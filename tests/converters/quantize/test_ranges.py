"""Ranges from streaming statistics."""

import itertools
import math
import tracemalloc
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.errors import DataRefused, UsageError
from edgekit_converters.quantize.ranges import (
    Range,
    RangeObserver,
    RangeRule,
    TensorStatistics,
    divergence,
    squared_error,
)

RULES: tuple[RangeRule, ...] = ("minmax", "percentile", "mse", "entropy")


def statistics_of(*arrays: NDArray[np.float32]) -> TensorStatistics:
    found = TensorStatistics()
    for array in arrays:
        found.add(array)
    return found


def floats(values: list[float]) -> NDArray[np.float32]:
    return np.array(values, np.float32)


@pytest.fixture
def bell() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=60_000).astype(np.float32)


@pytest.mark.parametrize("rule", RULES)
def test_order_of_the_samples_does_not_matter(rule: RangeRule, bell: NDArray[np.float32]) -> None:
    parts = np.split(bell * np.float32(3.3), 60)
    assert statistics_of(*parts).range(rule) == statistics_of(*parts[::-1]).range(rule)


def test_minmax_is_exact_and_includes_zero() -> None:
    assert statistics_of(floats([1.5, 7.25])).range("minmax") == Range(0.0, 7.25)
    assert statistics_of(floats([-2, 3]), floats([-4, 1])).range("minmax") == Range(-4.0, 3.0)


def test_percentile_leaves_a_rare_outlier_out(bell: NDArray[np.float32]) -> None:
    found = statistics_of(np.append(bell, np.float32(1000))).range("percentile")
    assert 3.0 < found.high < 6.0
    assert -6.0 < found.low < -3.0


def test_least_squares_beats_the_other_rules_on_its_own_measure(bell: NDArray[np.float32]) -> None:
    statistics = statistics_of(np.append(bell, floats([40, 42])))
    values, counts = statistics.histogram()
    errors = {rule: squared_error(values, counts, statistics.range(rule), 256) for rule in RULES}
    assert errors["mse"] < errors["minmax"]
    assert errors["mse"] < errors["percentile"]


def test_least_squares_error_is_that_of_real_rounding(bell: NDArray[np.float32]) -> None:
    statistics = statistics_of(bell)
    choice = Range(-3.0, 3.0)
    step = choice.width / 255
    rounded = np.rint(np.clip(bell, -3, 3) / step) * step
    real = float(((bell - rounded) ** 2).sum())
    assert squared_error(*statistics.histogram(), choice, 256) == pytest.approx(real, rel=0.05)


def test_with_16_bits_least_squares_clips_next_to_nothing(bell: NDArray[np.float32]) -> None:
    statistics = statistics_of(bell)
    assert statistics.range("mse", levels=65536).width > 0.95 * statistics.range("minmax").width


@pytest.mark.parametrize("mask", [np.finfo(np.float32).min, -np.inf])
@pytest.mark.parametrize("rule", RULES)
def test_attention_masks_are_no_part_of_a_range(rule: RangeRule, mask: float) -> None:
    found = statistics_of(floats([0, 1, mask]), floats([mask] * 3)).range(rule)
    assert found == Range(0.0, 1.0)


def test_an_activation_that_becomes_nan_is_refused_by_name() -> None:
    with pytest.raises(DataRefused, match="tensor 'deep' becomes NaN"):
        RangeObserver().add({"deep": floats([1, np.nan])})


@pytest.mark.parametrize("rule", RULES)
def test_a_tensor_of_zeros_has_an_empty_range(rule: RangeRule) -> None:
    assert statistics_of(np.zeros(9, np.float32)).range(rule) == Range(0.0, 0.0)


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(UsageError, match="range rule 'widest'"):
        statistics_of(floats([1])).range(cast(RangeRule, "widest"))


def peak_bytes(samples: int) -> int:
    """Most memory the observer holds while so many samples of two tensors pass through it."""
    generator = np.random.default_rng(0)
    observer = RangeObserver()
    tracemalloc.start()
    for _ in range(samples):
        observer.add({"a": generator.normal(size=200_000).astype(np.float32), "b": np.zeros(10, np.float32)})
    observer.ranges("mse")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_samples() -> None:
    assert peak_bytes(64) <= 1.05 * peak_bytes(8)


def test_typical_is_the_mean_of_the_extremes_and_deviations_more() -> None:
    statistics = statistics_of(floats([-1, 2]), floats([-3, 6]), floats([-2, 4]))
    deviation = math.sqrt(2 / 3)
    assert statistics.typical(0) == Range(-2.0, 4.0)
    for count in (0.5, -0.5):
        found = statistics.typical(count)
        assert found.low == pytest.approx(-2 - count * deviation)
        assert found.high == pytest.approx(4 + count * 2 * deviation)


def test_typical_goes_no_further_than_what_was_seen_and_includes_zero() -> None:
    assert statistics_of(floats([-1, 2]), floats([-3, 6])).typical(9) == Range(-3.0, 6.0)
    assert statistics_of(floats([3, 5]), floats([4, 7])).typical(0) == Range(0.0, 6.0)
    assert statistics_of(floats([-5, -3])).typical(0) == Range(-5.0, 0.0)
    assert TensorStatistics().typical(1) == Range(0.0, 0.0)


def test_typical_is_the_same_to_the_last_bit_in_any_order() -> None:
    tops = floats([1e8, 1e-8, 3.3, 0.1, 7e-40])
    found = {statistics_of(*[floats([top]) for top in order]).typical(0.5) for order in itertools.permutations(tops)}
    assert len(found) == 1
    exact = math.fsum(float(top) for top in tops) / 5
    assert statistics_of(*[floats([top]) for top in tops]).typical(0).high == exact


def test_a_deviation_beside_a_large_mean_is_not_lost() -> None:
    statistics = statistics_of(floats([1e6]), floats([1e6 + 0.5]))
    assert statistics.typical(-1).high == pytest.approx(1e6, abs=1e-9)


def test_quantile_cuts_half_of_the_tail_at_each_end() -> None:
    values = np.arange(-50, 51, dtype=np.float32)
    found = statistics_of(values).quantile(0.2)
    # 10 of 101 values at each end; bins of 1.6 % hold one whole number each up to 64.
    assert found.low == pytest.approx(-40, rel=0.016)
    assert found.high == pytest.approx(40, rel=0.016)


def test_quantile_cuts_as_much_as_it_is_told_in_any_order(bell: NDArray[np.float32]) -> None:
    parts = np.split(bell, 60)
    assert statistics_of(*parts).quantile(1e-3) == statistics_of(*parts[::-1]).quantile(1e-3)
    assert statistics_of(*parts).quantile(0.0).high == pytest.approx(float(bell.max()), rel=0.016)
    assert statistics_of(*parts).quantile(1e-3).width < statistics_of(*parts).quantile(1e-5).width


def test_the_middle_9999_is_the_percentile_rule(bell: NDArray[np.float32]) -> None:
    statistics = statistics_of(bell)
    assert statistics.quantile(1e-4).high == pytest.approx(statistics.range("percentile").high)


def test_divergence_of_a_small_histogram_by_hand() -> None:
    values, counts = np.array([0.0, 0.1, 1.0, 2.0, 3.0]), np.array([4, 2, 3, 1, 2])
    # Steps of 1: 0 and 0.1 share one, 3 each; nothing is clipped.
    whole = 4 / 12 * math.log(4 / 3) + 2 / 12 * math.log(2 / 3)
    assert divergence(values, counts, Range(0.0, 3.0), 4) == pytest.approx(whole)
    # Up to 2, steps of 1: 3 counts as 2 in what is wanted (3 of 12) and not in what is stored (1 of 10).
    stored = [3 / 10, 3 / 10, 3 / 10, 1 / 10]
    clipped = sum(p / 12 * math.log(p / 12 / q) for p, q in zip([4, 2, 3, 3], stored, strict=True))
    assert divergence(values, counts, Range(0.0, 2.0), 3) == pytest.approx(clipped)


def test_divergence_is_zero_where_every_bin_has_a_step_and_infinite_where_none_is_held() -> None:
    values, counts = np.array([0.0, 1.0, 2.0]), np.array([5, 2, 9])
    assert divergence(values, counts, Range(0.0, 2.0), 3) == pytest.approx(0)
    assert divergence(values + 10, counts, Range(0.0, 2.0), 3) == math.inf


def test_entropy_leaves_rare_outliers_out_and_is_no_other_rule(bell: NDArray[np.float32]) -> None:
    statistics = statistics_of(np.append(np.abs(bell), floats([200, 200])))
    found = statistics.range("entropy")
    values, counts = statistics.histogram()
    wide = Range(0.0, 200.0)
    assert 1 < found.high < 150
    assert divergence(values, counts, found, 256) < divergence(values, counts, wide, 256)
    assert len({statistics.range(rule) for rule in RULES}) == len(RULES)


def test_merged_statistics_are_those_of_all_samples() -> None:
    generator = np.random.default_rng(3)
    samples = [generator.normal(size=500).astype(np.float32) * scale for scale in (1, 3, 9)]
    every, parts = RangeObserver(), [RangeObserver(), RangeObserver()]
    for number, sample in enumerate(samples):
        every.add({"a": sample})
        parts[number % 2].add({"a": sample, **({"b": sample} if number == 1 else {})})
    parts[0].merge(parts[1])
    one, two = every.tensors["a"], parts[0].tensors["a"]
    assert (one.samples, one.minimum, one.maximum) == (two.samples, two.minimum, two.maximum)
    assert one.typical(1.5) == two.typical(1.5)
    for rule in RULES:
        assert one.range(rule) == two.range(rule)
    assert parts[0].tensors["b"].samples == 1
