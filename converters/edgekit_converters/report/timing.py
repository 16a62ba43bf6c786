"""Times of a bundle's artifacts: what `edgekit bench` says, asked in a child, on a board where one is named."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgekit.errors import EnvironmentFault
from edgekit_converters.report.findings import Benched, Timing
from edgekit_converters.runtime import complaint, edgekit, processor

_PATIENCE_SECONDS = 900
_THROTTLED = 4


def bench(bundle: Path, seconds: float, device: str | None) -> Benched:
    """Measure all artifacts of a bundle.

    Args:
        bundle: The bundle.
        seconds: Timed, at least, of each artifact.
        device: Name of a board; ``None`` measures here.

    Raises:
        EnvironmentFault: No engine is installed, the board cannot be reached, or it takes too long.
    """
    words = ["bench", str(bundle), "--all", "--operators", "--roofline", "--json", "-"]
    words += ["--seconds", f"{seconds:g}", "--runs", "20", *(["--on", device] if device else [])]
    try:
        done = edgekit(words, _PATIENCE_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise EnvironmentFault(
            f"edgekit bench did not end within {_PATIENCE_SECONDS} s", remedy="report it, or pass --no-measure"
        ) from error
    if done.returncode not in (0, _THROTTLED) or not done.stdout.strip():
        raise EnvironmentFault(complaint(done.stderr), remedy="mend it, or pass --no-measure")
    return read_bench(json.loads(done.stdout), device or this_machine())


def read_bench(raw: Mapping[str, Any], where: str) -> Benched:
    """Read the JSON form of ``edgekit bench --all``."""
    timings = {item["artifact"]: Timing.from_dict(item) for item in raw["measurements"]}
    notes = [*(f"not measured: {line}" for line in raw.get("not_measured", ())), *raw.get("no_roofline", ())]
    return Benched(where, timings, raw.get("machine_peak") or {}, tuple(notes))


def this_machine(root: Path = Path("/")) -> str:
    """The processor and the system in a few words; never the machine's name."""
    return ", ".join((processor(root), f"{platform.system()} {platform.machine()}"))
