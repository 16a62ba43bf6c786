"""Ranges from streaming statistics."""

import tracemalloc
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.errors import DataRefused, UsageError
from edgekit_converters.quantize.ranges import Range, RangeObserver, RangeRule, TensorStatistics, squared_error

RULES: tuple[RangeRule, ...] = ("minmax", "percentile", "mse")


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
