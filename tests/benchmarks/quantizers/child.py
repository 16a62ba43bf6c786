"""Run one tool on one network in a process of its own and write what it cost.

    python -m tests.benchmarks.quantizers.child FOLDER TOOL OPTIONS OUT REPORT

Runs in the environments of all tools: numpy and the standard library alone are imported here.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib import import_module
from pathlib import Path

from tests.benchmarks.quantizers.memory import peak_megabytes
from tests.benchmarks.quantizers.workspace import Workspace


def main() -> None:
    """Make the tool ready (imports, opening of the model where it takes an open one), then run it on the clock."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("module")
    parser.add_argument("options", type=json.loads)
    parser.add_argument("out", type=Path)
    parser.add_argument("report", type=Path)
    given = parser.parse_args()
    tool = import_module(f"tests.benchmarks.quantizers.tools.{given.module}")
    run = tool.ready(Workspace(given.folder), **given.options)
    imports = peak_megabytes()
    begun = time.perf_counter()
    run(given.out)
    seconds = time.perf_counter() - begun
    given.report.write_text(json.dumps({"seconds": seconds, "peak_mb": peak_megabytes(), "imports_mb": imports}))


if __name__ == "__main__":
    main()
