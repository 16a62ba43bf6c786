"""Run every benchmark and rewrite the tables of the README.

    EDGEKIT_DATA=… python -m tests.benchmarks.bench

Speed is given as ratios against a peer in the same run, quality against the original model.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.benchmarks import convert_overhead, quality, run_overhead
from tests.benchmarks.document import rewrite, table

README = Path(__file__).parents[2] / "README.md"
CALLS = (
    ("one call, float model", "bare LiteRT", "LiteRT float call, +µs"),
    ("one call, float model", "bare ONNX Runtime", "ONNX Runtime float call, +µs"),
    ("one call on floats, uint8 model", "bare LiteRT on integers", "LiteRT uint8 call, +µs"),
    ("one call on floats, uint8 model", "LiteRT, quantizing in numpy", "LiteRT uint8 call with numpy, +µs"),
)


def call_row(figures: Mapping[str, float], what: str, peer: str, key: str) -> list[str]:
    """The cost of one call over the bare engine."""
    limit = run_overhead.LIMITS.get(key)
    return [what, peer, f"{figures[key]:+.0f} µs", "" if limit is None else f"+{limit:.0f} µs"]


def overheads() -> list[list[str]]:
    """Ratios of our commands over bare library calls."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = run_overhead.make_bundle(Path(folder) / "bundle")
        photo = next((run_overhead.data() / "imagenet_like" / "eval").glob("*.jpg"))
        figures = {**run_overhead.processes(bundle, photo, 15), **run_overhead.calls()}
    rows = [
        ["`edgekit run`, one photo", "a script with OpenCV and LiteRT", f"{figures['run over script']:.2f}", "1.3"],
        ["`edgekit --help`", "", f"{figures['help, ms']:.0f} ms", "150 ms"],
        *(call_row(figures, *row) for row in CALLS),
    ]
    return rows + [
        [f"`edgekit {row['what']}`", str(row["peer"]), f"{row['ratio']:.2f}", f"{row['limit']}"]
        for row in convert_overhead.measure(3)
    ]


def main() -> None:
    """Measure everything and rewrite the README between its markers."""
    costs = table(("what", "over", "measured", "limit"), overheads())
    rewrite(README, "benchmarks", table(quality.HEADINGS, quality.measure()), costs)


if __name__ == "__main__":
    main()
