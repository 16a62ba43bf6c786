"""Bandwidth: on this machine, as ratios in one run."""

from __future__ import annotations

import timeit

import numpy as np
import pytest

from edgekit_runtimes.bench.roofline import bandwidth as module
from edgekit_runtimes.bench.roofline.bandwidth import Level, available_memory, bandwidth, measure_levels
from edgekit_runtimes.bench.roofline.caches import Cache
from tests.runtimes.bench.conftest import TreeMaker

SIZE = 32 << 20


def test_it_is_what_numpy_reaches_in_plain_passes() -> None:
    source, target = np.ones(SIZE // 8, np.int32), np.ones(SIZE // 8, np.int32)
    copying, reading = (
        min(timeit.repeat(one, number=1, repeat=20)) for one in (lambda: np.copyto(target, source), source.max)
    )
    plain = max(2 * source.nbytes / copying, source.nbytes / reading) / 1e9
    assert 0.3 < bandwidth(SIZE, 1) / plain < 3


def test_threads_have_a_part_each() -> None:
    """Two threads touch as many bytes as one does, and are not counted twice."""
    assert 0.2 < bandwidth(4 << 20, 2) / bandwidth(4 << 20, 1) < 5


def test_levels_are_measured_between_the_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {384 << 10: 50.0, (2 << 20) // 2 + (256 << 10): 20.0, 64 << 20: 30.0}
    sizes = []

    def measured(size: int, threads: int) -> float:
        sizes.append((size, threads))
        return rates.get(size, 30.0)

    monkeypatch.setattr(module, "bandwidth", measured)
    caches = [Cache(1, 64 << 10), Cache(2, 256 << 10), Cache(3, 2 << 20, 4)]
    found = measure_levels(caches, 2)
    assert sizes == [((128 + 512 << 10) // 2, 2), ((512 << 10) + (2 << 20) >> 1, 2), (64 << 20, 2)]
    # A closer level is never slower than one behind it, whatever a noisy machine says.
    assert found == [Level("L2", 128 << 10, 30.0), Level("L3", 512 << 10, 30.0), Level("memory", 2 << 20, 30.0)]


def test_little_memory_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def measured(size: int, threads: int) -> float:
        sizes.append(size)
        return 1.0

    monkeypatch.setattr(module, "bandwidth", measured)
    measure_levels([Cache(1, 32 << 10), Cache(2, 512 << 10)], 1, available=80 << 20)
    assert sizes[-1] == 20 << 20


def test_without_known_caches_nothing_is_claimed() -> None:
    assert measure_levels([], 1) == []


def test_available_memory(tree: TreeMaker) -> None:
    assert available_memory(tree({"proc/meminfo": "MemTotal: 4050944 kB\nMemAvailable: 2048 kB\n"})) == 2 << 20
    assert available_memory(tree(name="none")) is None
