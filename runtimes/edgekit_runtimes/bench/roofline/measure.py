"""Measuring the machine's peaks, in a process that does nothing else."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgekit.engine import format_of
from edgekit_runtimes.bench.job import Target
from edgekit_runtimes.bench.roofline.arithmetic import measure_arithmetic
from edgekit_runtimes.bench.roofline.bandwidth import available_memory, measure_levels
from edgekit_runtimes.bench.roofline.caches import read_caches
from edgekit_runtimes.engines.common import thread_count


def measure_peak(target: Target, threads: int | None, root: Path = Path("/")) -> dict[str, Any]:
    """Measure the rates of `MachinePeak`, ready for JSON.

    Args:
        target: Its format and its engine are those that are measured.
        threads: Threads of the engine.
        root: Where the machine's ``/proc`` and ``/sys`` lie.
    """
    levels = measure_levels(read_caches(root), thread_count(threads), available=available_memory(root))
    rates = measure_arithmetic(format_of(target.path), target.engine, threads)
    return {"gmacs_per_s": rates, "levels": [asdict(level) for level in levels]}
