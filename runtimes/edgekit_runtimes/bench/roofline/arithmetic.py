"""How fast an engine multiplies on this machine when nothing else holds it up."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from time import perf_counter

from edgekit.engine import open_engine
from edgekit.errors import EdgeKitError
from edgekit_runtimes.bench.feeds import random_feeds
from edgekit_runtimes.bench.roofline.peak_models import MACS, peak_model

SECONDS = 0.5
_WARMUP = 3


def measure_arithmetic(form: str, engine: str | None, threads: int | None) -> dict[str, float]:
    """Measure the peak rate of an engine, in 10^9 multiply-accumulate operations a second.

    Args:
        form: Artifact format that the engine is given.
        engine: Name of the engine; ``None`` takes the format's own.
        threads: Threads of the engine.

    Returns:
        ``fp32`` and ``int8`` -> rate; what the engine refuses is left out.
    """
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for dtype in MACS:
            path = Path(folder) / f"peak.{dtype}.{form}"
            path.write_bytes(peak_model(form, dtype))
            with suppress(EdgeKitError):
                found[dtype] = MACS[dtype] / _fastest(path, engine, threads) / 1e9
    return found


def _fastest(path: Path, engine: str | None, threads: int | None) -> float:
    """Seconds of the fastest run: the machine's other work makes runs slower, never faster."""
    with open_engine(path, engine, threads=threads) as opened:
        feeds = random_feeds(opened.inputs)
        for _ in range(_WARMUP):
            opened.run(feeds)
        best, end = float("inf"), perf_counter() + SECONDS
        while perf_counter() < end or best == float("inf"):
            start = perf_counter()
            opened.run(feeds)
            best = min(best, perf_counter() - start)
    return best
