"""The numbers of a layer, against their definitions."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit_converters.compare.align import Pair
from edgekit_converters.compare.layers import HUGE, LayerMeter
from edgekit_converters.compare.trace import Activation, Grid

FloatArray = NDArray[np.float32]


def meter(grid: Grid | None = None, *, channels_last: bool = True) -> LayerMeter:
    sides = (Activation("conv", "conv", "CONV_2D", ()), Activation("conv", "conv", "CONV_2D", (), None, grid))
    return LayerMeter(Pair(*sides, "name"), channels_last=channels_last)


@pytest.fixture
def values() -> FloatArray:
    return np.random.default_rng(0).normal(size=(1, 6, 6, 8)).astype(np.float32)


def test_sums_over_samples_are_those_over_all_values_at_once(values: FloatArray) -> None:
    noise = np.random.default_rng(1).normal(scale=0.1, size=values.shape).astype(np.float32)
    layer = values + noise / 2
    sums = meter()
    for rows in range(0, 6, 2):
        cut = np.s_[:, rows : rows + 2]
        sums.add(values[cut], (values + noise)[cut], layer[cut])
    found = sums.result()
    want, got, own = (side.astype(np.float64).ravel() for side in (values, values + noise, layer))
    norm = np.linalg.norm(want)
    assert found.relative_l2 == pytest.approx(np.linalg.norm(got - want) / norm, rel=1e-5)
    assert found.own == pytest.approx(np.linalg.norm(got - own) / norm, rel=1e-5)
    assert found.inherited == pytest.approx(np.linalg.norm(own - want) / norm, rel=1e-5)
    assert found.sqnr_db == pytest.approx(-20 * math.log10(found.relative_l2))
    assert found.cosine == pytest.approx(want @ got / norm / np.linalg.norm(got), rel=1e-5)
    assert found.max_error == pytest.approx(np.abs(got - want).max(), rel=1e-5)
    assert found.mean_error == pytest.approx((got - want).mean(), rel=1e-3)
    assert (found.low, found.high) == (want.min(), want.max())


@pytest.mark.parametrize("channels_last", [True, False])
def test_a_constant_shift_of_each_channel_is_all_bias(values: FloatArray, channels_last: bool) -> None:
    shift = np.arange(8, dtype=np.float32)
    want = values if channels_last else np.ascontiguousarray(values.transpose(0, 3, 1, 2))
    sums = meter(channels_last=channels_last)
    sums.add(want, want + (shift if channels_last else shift[:, None, None]), None)
    assert sums.result().bias_share == pytest.approx(1.0, abs=1e-5)
    assert sums.result().own is None


def test_zero_mean_noise_is_no_bias(values: FloatArray) -> None:
    noise = np.random.default_rng(2).normal(size=(1, 40, 40, 8)).astype(np.float32)
    sums = meter()
    sums.add(np.ones_like(noise), 1 + noise, None)
    assert sums.result().bias_share < 0.01


def test_values_outside_the_grid_are_clipped_and_half_a_step_is_not() -> None:
    grid = Grid("uint8", 0.1, 0)
    sums = meter(grid)
    want = np.array([[0.0, 25.5, 25.54, 25.7, -0.04, -0.3, 1.0, 2.0, 3.0, 4.0]], np.float32)
    sums.add(want, np.clip(want, 0, 25.5), None)
    found = sums.result()
    assert found.clipped == pytest.approx(0.2)
    assert found.stored_low == 0.0
    assert found.stored_high == pytest.approx(25.5)
    assert found.dtype == "uint8"


def test_what_is_not_finite_is_an_infinite_error(values: FloatArray) -> None:
    sums = meter()
    broken = values.copy()
    broken[0, 0, 0, 0] = np.nan
    sums.add(values, broken, None)
    assert sums.seen
    assert sums.result().relative_l2 == math.inf


def test_masked_scores_are_left_out(values: FloatArray) -> None:
    want, got = values.copy(), values + np.float32(0.01)
    want[..., 0], got[..., 0] = -3.4e38, -2.5
    sums = meter()
    sums.add(want, got, want)
    assert abs(want[0, 0, 0, 0]) > HUGE
    assert sums.result().max_error == pytest.approx(0.01, rel=1e-3)


def test_other_shapes_are_told() -> None:
    sums = meter()
    sums.add(np.zeros((1, 2), np.float32), np.zeros((2, 1), np.float32), None)
    assert not sums.fits
