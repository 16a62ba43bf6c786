"""A picture of the steady latency: over time, and how often."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgekit.atomic import atomic_file
from edgekit.errors import MissingExtra, UsageError
from edgekit_runtimes.bench.measurement import Measurement

_BINS = 60


def require_matplotlib(path: Path) -> None:
    """Check that a plot can be drawn, before anything is measured.

    Raises:
        UsageError: The file name does not end in .png.
        MissingExtra: matplotlib is not installed.
    """
    if path.suffix.lower() != ".png":
        raise UsageError(f"--plot {path}", expected="a file name that ends in .png")
    try:
        import matplotlib.figure  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "--plot needs matplotlib, which is not installed", remedy="pip install 'edgekit-ai[plot]'"
        ) from error


def write_plot(path: Path, measurements: Sequence[Measurement]) -> None:
    """Draw latency over time and its histogram, a colour for each configuration.

    Raises:
        EnvironmentFault: The file cannot be written; what was there before is unchanged.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5 + 0.1 * len(measurements)), layout="constrained")
    over_time, counted = figure.subplots(1, 2, width_ratios=(3, 2))
    # A few slow runs would squeeze all others into the first bin: they are counted in the last one.
    highest = max(min(float(np.percentile(one.samples, 99)) * 1000, 4 * one.latency.p50) for one in measurements)
    for one in measurements:
        samples = np.asarray(one.samples)
        label = f"{one.target.name}, threads {one.threads}" + ("" if one.valid else " (INVALID)")
        over_time.plot(np.cumsum(samples), samples * 1000, ".", markersize=2, label=label)
        counted.hist(np.minimum(samples * 1000, highest), bins=_BINS, alpha=0.6)
        counted.axvline(one.latency.p50, color="black", linewidth=0.7)
    over_time.set(xlabel="seconds of measuring", ylabel="milliseconds", yscale="log", title="Latency")
    counted.set(xlabel="milliseconds", ylabel="runs", title="Histogram; the lines are medians")
    figure.legend(loc="outside lower center", markerscale=5, ncols=2)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
