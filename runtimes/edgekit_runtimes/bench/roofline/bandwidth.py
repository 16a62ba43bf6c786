"""How fast bytes reach the processors: from each level of cache, and from the memory.

As in STREAM (McCalpin, 1995) the best of several passes counts. Beside its copy there is a pass that only reads,
which is what weights need: the faster of the two is the bandwidth.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from edgekit_runtimes.bench.roofline.caches import Cache

Pass = Callable[[int], object]
"""Touches its bytes that many times."""

SECONDS = 0.15
"""Spent on each of the two kinds of pass, of each level."""

_PASS_SECONDS = 0.0005
"""Short passes are repeated to this: the start of a thread takes some ten microseconds."""

_MEMORY_TIMES, _MEMORY_LEAST, _MEMORY_MOST = 4, 64 << 20, 256 << 20
_MEMORY_SHARE = 4
"""Memory is measured on four times the largest cache, within these limits and a quarter of what is available."""


@dataclass(frozen=True)
class Level:
    """A place where bytes come from.

    Attributes:
        name: ``L2``, ``L3`` or ``memory``.
        below: Bytes that closer caches hold: what fits there does not come from here.
        gbytes_per_s: Bandwidth in 10^9 bytes a second, all threads together.
    """

    name: str
    below: int
    gbytes_per_s: float


def measure_levels(caches: Sequence[Cache], threads: int, *, available: int | None = None) -> list[Level]:
    """Measure the caches from the second level on, and the memory; a closer level is never slower.

    Args:
        caches: Of the machine; without any, nothing is measured, as it is not known what a pass would measure.
        threads: Threads that read at the same time.
        available: Free memory in bytes; ``None`` where it is not known.
    """
    if not caches:
        return []
    capacities = [cache.capacity(threads) for cache in caches]
    most = min(_MEMORY_MOST, (available or _MEMORY_MOST) // _MEMORY_SHARE)
    memory = min(max(_MEMORY_TIMES * capacities[-1], _MEMORY_LEAST), most)
    names = [f"L{cache.level}" for cache in caches[1:]] + ["memory"]
    sizes = [max(size // 2, (size + below) // 2) for below, size in itertools.pairwise(capacities)]
    rates = [bandwidth(size, threads) for size in [*sizes, memory]]
    return [
        Level(name, below, max(rates[number:]))
        for number, (name, below) in enumerate(zip(names, capacities, strict=True))
    ]


def bandwidth(size: int, threads: int, seconds: float = SECONDS) -> float:
    """Return 10^9 bytes a second of the faster of reading and copying.

    Args:
        size: Bytes touched by all threads together in one pass.
        threads: Each has a part of its own.
        seconds: Of each of the two.
    """
    words = max(64, size // threads // 4)
    parts = [np.ones(words, np.int32) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        reading = _rate(pool, [_reader(part) for part in parts], 4 * words, seconds)
        copying = _rate(pool, [_copier(part) for part in parts], 4 * 2 * (words // 2), seconds)
    return max(reading, copying)


def _reader(part: NDArray[np.int32]) -> Pass:
    """Maximum of integers: one instruction a vector, while numpy's sums of floats are slower than some memories."""

    def read(times: int) -> None:
        # One call for all passes: a call for each would take a third of the time of a pass through a small cache.
        np.broadcast_to(part, (times, part.size)).max(axis=1)

    return read


def _copier(part: NDArray[np.int32]) -> Pass:
    half = part.size // 2

    def copy(times: int) -> None:
        for _ in range(times):
            np.copyto(part[half : 2 * half], part[:half])

    return copy


def _rate(pool: ThreadPoolExecutor, passes: Sequence[Pass], size: int, seconds: float) -> float:
    """Best rate of all threads together; numpy lets go of the interpreter's lock meanwhile."""
    once = min(_timed(passes[0], 1) for _ in range(3))
    times = max(1, round(_PASS_SECONDS / max(once, 1e-9)))
    best, end = float("inf"), perf_counter() + seconds
    while perf_counter() < end or best == float("inf"):
        if len(passes) == 1:
            best = min(best, _timed(passes[0], times))
        else:
            start = perf_counter()
            list(pool.map(lambda one: one(times), passes))
            best = min(best, perf_counter() - start)
    return size * len(passes) * times / best / 1e9


def _timed(one: Pass, times: int) -> float:
    start = perf_counter()
    one(times)
    return perf_counter() - start


def available_memory(root: Path = Path("/")) -> int | None:
    """Memory that can be had without swapping, in bytes; ``None`` where the system does not say."""
    try:
        lines = (root / "proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return None
