"""Measure the runtime against its peers and rewrite the tables of docs/device.md.

    EDGEKIT_DATA=… python -m tests.benchmarks.runtime [--rounds 5]

Photos and videos against plain loops and MediaPipe, the server against the bare pipeline, and what an installation
weighs. For an idle machine.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.benchmarks import footprint, serve, throughput
from tests.benchmarks.document import rewrite, table

DOCUMENT = Path(__file__).parents[2] / "docs" / "device.md"


def main() -> None:
    """Measure everything and rewrite the document between its markers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    parts = [
        table(throughput.HEADINGS, [cells for cells, _ in throughput.measure(400, rounds)]),
        table(serve.HEADINGS, list(serve.measure(rounds, 2.0))),
        table(footprint.HEADINGS, list(footprint.measure())),
    ]
    rewrite(DOCUMENT, "runtime", *parts)


if __name__ == "__main__":
    main()
