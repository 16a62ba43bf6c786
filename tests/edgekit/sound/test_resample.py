"""Resampling against scipy, whole and block by block."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import resample_poly

from edgekit.sound.resample import Resampler, resampled


@pytest.mark.parametrize(
    ("source", "target"), [(44_100, 16_000), (8_000, 16_000), (48_000, 16_000), (11_025, 44_100), (16_001, 16_000)]
)
def test_it_is_scipys_polyphase(source: int, target: int) -> None:
    samples = np.random.default_rng(0).standard_normal(source // 4 + 7).astype(np.float32)
    want = resample_poly(samples.astype(np.float64), target, source)
    found = resampled(samples, source, target)
    assert found.shape == want.shape
    assert np.abs(found - want).max() < 1e-5


@given(st.lists(st.integers(1, 700), min_size=1, max_size=8), st.sampled_from([(3, 2), (2, 3), (441, 160), (1, 1)]))
def test_blocks_leave_no_trace(sizes: list[int], rates: tuple[int, int]) -> None:
    samples = np.random.default_rng(1).standard_normal(sum(sizes)).astype(np.float32)
    resampler, at, parts = Resampler(*rates), 0, []
    for size in sizes:
        parts.append(resampler.feed(samples[at : at + size]))
        at += size
    parts.append(resampler.finish())
    assert np.allclose(np.concatenate(parts), resampled(samples, *rates), atol=1e-5)


def test_memory_stays_that_of_a_block() -> None:
    resampler = Resampler(44_100, 16_000)
    for _ in range(50):
        resampler.feed(np.zeros(44_100, np.float32))
    assert len(resampler._buffer) < 2_000
